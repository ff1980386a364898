from __future__ import annotations

import subprocess
import sys

import pytest

import vectorcache_llm

HEAVY = ("faiss", "onnxruntime", "qdrant_client", "redis", "tiktoken", "usearch", "wordllama", "yaml")


@pytest.mark.parametrize("name", vectorcache_llm.__all__)
def test_every_public_name_is_importable(name: str) -> None:
    assert getattr(vectorcache_llm, name) is not None


def test_there_is_no_other_name() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        _ = vectorcache_llm.nothing


def test_importing_every_name_imports_no_optional_dependency() -> None:
    program = (
        "import sys, vectorcache_llm as llm\n"
        "light = [name for name in llm.__all__ if not name.startswith(('Config', 'Settings', 'load', 'open'))]\n"
        "[getattr(llm, name) for name in light]\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert found.stdout.strip() == "[]"
