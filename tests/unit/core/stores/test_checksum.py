from __future__ import annotations

import pytest

from vectorcache.errors import CorruptData
from vectorcache.stores.checksum import check, check_by_key, checksum

DIGEST = "832a1278771093fff5a734f0f61f4322"
KEY = f"words/v1/chunks/000000-{DIGEST}.arrow"


def test_is_fixed() -> None:
    """It stands in keys and manifests, so it never changes."""
    assert checksum(b"vectorcache") == DIGEST
    assert checksum(b"") == "0" * 32


def test_what_was_written_passes() -> None:
    check(b"vectorcache", DIGEST, "any")
    check_by_key(KEY, b"vectorcache")


@pytest.mark.parametrize("data", [b"", b"vectorcachf", b"vectorcache "])
def test_anything_else_is_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptData, match=f"{KEY}' is damaged"):
        check(data, DIGEST, KEY)
    with pytest.raises(CorruptData, match=f"{KEY}' is damaged"):
        check_by_key(KEY, data)


@pytest.mark.parametrize(
    "key", ["", "words/v1/chunks/000000.arrow", KEY[:-1], KEY.upper(), KEY.replace("-", "_")]
)
def test_a_key_without_a_checksum_is_corrupt(key: str) -> None:
    with pytest.raises(CorruptData, match="has no checksum in its key"):
        check_by_key(key, b"vectorcache")
