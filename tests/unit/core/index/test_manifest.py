from __future__ import annotations

import msgspec
import pytest
from tests.support.core.manifests import make_manifest

from vectorcache.errors import CorruptData, InvalidInput
from vectorcache.index.manifest import (
    Calibration,
    Current,
    Tradeoff,
    check_collection,
    claim_key,
    current_key,
    decode_manifest,
    encode_manifest,
    manifest_key,
)

KEY = "words/v7/manifest.json"


def test_comes_back_as_it_was() -> None:
    assert decode_manifest(encode_manifest(make_manifest()), KEY) == make_manifest()


def test_is_json_that_people_read() -> None:
    assert encode_manifest(make_manifest()).startswith(b'{\n "format": 3,\n "collection": "words",')


def test_names_its_blobs() -> None:
    manifest = make_manifest()
    assert manifest.chunk_key(2) == "words/v7/chunks/000002-ab.arrow"
    assert manifest.lookup_key(0) == "words/v7/ids/000000-ef.arrow"
    assert manifest.centroids_key == "words/v7/centroids.arrow"
    assert current_key("words") == "words/current.json"
    assert claim_key("words", 7) == "words/v7/claim.json"
    assert manifest_key("words", 7) == KEY


def test_tells_the_chunk_of_each_cell() -> None:
    assert make_manifest((2, 1, 3)).chunk_of_cell().tolist() == [0, 0, 1, 2, 2, 2]
    assert make_manifest((1,)).chunk_of_cell().tolist() == [0]


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", encode_manifest(make_manifest())[:-9]])
def test_other_bytes_are_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptData, match=KEY):
        decode_manifest(data, KEY)


@pytest.mark.parametrize(
    ("written", "damaged"),
    [(b'"rows": 110', b'"rows": 111'), (b"0.96", b"0.97"), (b'\n "checksum"', b'\n "checksun"')],
)
def test_a_changed_value_is_corrupt(written: bytes, damaged: bytes) -> None:
    data = encode_manifest(make_manifest())
    assert data.count(written) >= 1
    with pytest.raises(CorruptData, match=f"{KEY}' is damaged"):
        decode_manifest(data.replace(written, damaged), KEY)


def test_another_format_is_not_read() -> None:
    newer = msgspec.structs.replace(make_manifest(), format=4)
    with pytest.raises(CorruptData, match="has format 4; this version reads 3"):
        decode_manifest(encode_manifest(newer), KEY)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "-a", "_a", "a b", "ü", "a" * 129, "a\n"])
def test_refuses_names_that_are_no_collections(name: str) -> None:
    with pytest.raises(InvalidInput, match="^collection: "):
        check_collection(name)


@pytest.mark.parametrize("name", ["a", "0", "a.b-c_d", "A" * 128])
def test_takes_other_names(name: str) -> None:
    assert check_collection(name) == name


@pytest.mark.parametrize(
    ("recall", "nprobe"), [(0.01, 1), (0.5, 1), (0.51, 2), (0.96, 2), (0.99, 6), (1.0, 6)]
)
def test_nprobe_for_a_recall_is_the_smallest_that_reaches_it(recall: float, nprobe: int) -> None:
    assert make_manifest().search.nprobe_for(recall) == nprobe


def test_nprobe_for_a_recall_that_none_reaches_is_the_largest() -> None:
    curve = (Tradeoff(1, 0.2, 0.2, 0.1), Tradeoff(4, 0.9, 0.9, 1.0))
    assert Calibration(4, 0.95, 10, 40, curve).nprobe_for(0.95) == 4


def test_the_pointer_is_small_json() -> None:
    assert msgspec.json.encode(Current(7, (3,))) == b'{"version":7,"pinned":[3]}'
    assert msgspec.json.decode(b'{"version":7}', type=Current) == Current(7, ())
