from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from vectorcache_llm.errors import MissingExtra
from vectorcache_llm.extras import folder_of, require


def test_an_installed_module_is_imported() -> None:
    assert require("json", "any") is json
    assert folder_of("json", "any") == Path(json.__file__).parent


@pytest.mark.parametrize("find", [require, folder_of])
def test_the_error_for_a_missing_module_names_the_extra(find: object) -> None:
    assert callable(find)
    with pytest.raises(MissingExtra, match=r"no_such_package is not .*vectorcache\[some\]"):
        find("no_such_package", "some")


def test_a_missing_dependency_of_a_package_is_raised_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "missing_of_it_extended"  # starts with the name of the missing module
    (tmp_path / f"{name}.py").write_text("import missing_of_it")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="'missing_of_it'") as caught:
        require(name, "some")
    assert not isinstance(caught.value, MissingExtra)
    assert name not in sys.modules
