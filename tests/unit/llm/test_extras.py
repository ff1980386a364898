from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from vectorcache_llm.errors import MissingExtra
from vectorcache_llm.extras import folder_of, require


def test_what_is_there_is_imported() -> None:
    assert require("json", "any") is json
    assert folder_of("json", "any") == Path(json.__file__).parent


@pytest.mark.parametrize("find", [require, folder_of])
def test_what_is_missing_says_what_to_install(find: object) -> None:
    assert callable(find)
    with pytest.raises(MissingExtra, match=r"no_such_package is not .*vectorcache\[some\]"):
        find("no_such_package", "some")


def test_what_a_package_itself_lacks_is_told_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "missing_of_it_extended"  # begins like what it lacks
    (tmp_path / f"{name}.py").write_text("import missing_of_it")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="'missing_of_it'") as caught:
        require(name, "some")
    assert not isinstance(caught.value, MissingExtra)
    assert name not in sys.modules
