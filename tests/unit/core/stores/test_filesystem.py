from __future__ import annotations

import os
from pathlib import Path

import pytest

from vectorcache.stores.filesystem import folders, stat_of, temporary_beside, walk, written


def test_a_temporary_file_is_made_with_its_folder_and_goes_with_the_block(tmp_path: Path) -> None:
    target = tmp_path / "a/b/c"
    temporary = temporary_beside(target)
    with written(temporary, b"content"):
        assert temporary.parent == target.parent
        assert temporary.read_bytes() == b"content"
    assert os.listdir(target.parent) == []


def test_a_renamed_file_stays(tmp_path: Path) -> None:
    target = tmp_path / "a"
    temporary = temporary_beside(target)
    with written(temporary, b"content", sync=True):
        temporary.replace(target)
    assert os.listdir(tmp_path) == ["a"]
    assert target.read_bytes() == b"content"


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), written(temporary_beside(tmp_path / "a"), b"content"):
        raise RuntimeError
    assert os.listdir(tmp_path) == []


def test_temporary_names_differ(tmp_path: Path) -> None:
    assert temporary_beside(tmp_path / "a") != temporary_beside(tmp_path / "a")


def test_walks_files_below_folders_of_ours(tmp_path: Path) -> None:
    for name in ("a", "b/c", "b/.hidden", ".git/x", "lost+found/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    assert sorted(name for name, _ in walk(tmp_path)) == ["a", "b/.hidden", "b/c"]
    assert sorted(folders(tmp_path)) == ["b", "empty"]


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside/loop").symlink_to(tmp_path)
    assert [name for name, _ in walk(tmp_path)] == ["inside/loop"]


def test_a_missing_folder_is_empty(tmp_path: Path) -> None:
    assert list(walk(tmp_path / "missing")) == []
    assert folders(tmp_path / "missing") == []


def test_what_vanished_has_no_status(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"123")
    (_, entry), (_, other) = next(walk(tmp_path)), next(walk(tmp_path))
    status = stat_of(entry)
    assert status is not None
    assert status.st_size == 3
    (tmp_path / "a").unlink()
    assert stat_of(other) is None
