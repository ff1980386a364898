from __future__ import annotations

from vectorcache.layers import BytesCodec


def test_bytes_stay_what_they_are() -> None:
    codec = BytesCodec()
    value = b"value"
    assert codec.decode("a", codec.encode("a", value)) is value
