from __future__ import annotations

from vectorcache.layers import BytesCodec


def test_bytes_stay_what_they_are() -> None:
    codec = BytesCodec()
    value = b"value"
    assert codec.decode("a", codec.encode("a", value)) is value


def test_a_value_is_not_mapped_unless_its_codec_says_so() -> None:
    assert not BytesCodec().mappable
    assert not BytesCodec().prefers_mapping(b"abc")
    assert BytesCodec().map("a", memoryview(b"abc")) == b"abc"
