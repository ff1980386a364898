from __future__ import annotations

import subprocess
import sys

import pytest

import vectorcache

HEAVY = ("faiss", "azure", "aiohttp", "rich")


def modules_after(code: str) -> set[str]:
    """Names of the top-level modules that a new process has loaded after running the code."""
    script = f"{code}\nimport sys\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("name", vectorcache.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(vectorcache, name) is not None
    assert name in dir(vectorcache)


def test_public_names_say_where_they_live() -> None:
    for name in vectorcache.__all__:
        value = getattr(vectorcache, name)
        if isinstance(value, type):
            assert value.__name__ == name
            assert value.__doc__


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="'vectorcache' has no attribute 'Nothing'"):
        vectorcache.Nothing  # noqa: B018
    with pytest.raises(ImportError):
        exec("from vectorcache import Nothing")


@pytest.mark.parametrize(
    "code",
    [
        "import vectorcache",
        "from vectorcache import ChunkIndex, EfficientVectorStorage, RingRouter, ChunkCodec, open_blob_store",
        "import vectorcache.wire.internal, vectorcache.wire.public",
    ],
)
def test_searching_needs_neither_faiss_nor_azure_nor_aiohttp(code: str) -> None:
    assert modules_after(code).isdisjoint(HEAVY)


def test_importing_the_package_loads_nothing_but_the_package() -> None:
    assert modules_after("import vectorcache").isdisjoint({*HEAVY, "numpy", "pyarrow", "msgspec"})
