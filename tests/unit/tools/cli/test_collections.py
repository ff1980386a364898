import shutil
from pathlib import Path

import pytest

NAMES = {True: "yes", False: ""}


@pytest.fixture
def versions(run, blobs: Path):
    """Rows of ``collections versions``: number to (complete, served, pinned)."""

    def read() -> dict[int, tuple[str, ...]]:
        lines = run("collections", "versions", "small", "--blobs", blobs).stdout.splitlines()
        rows = [
            [cell.strip() for cell in line.strip("│").split("│")] for line in lines if line.startswith("│")
        ]
        return {int(row[0]): tuple(row[1:]) for row in rows}

    return read


def test_list_names_every_collection_and_its_version(run, blobs: Path) -> None:
    row = next(
        line for line in run("collections", "list", "--blobs", blobs).stdout.splitlines() if "small" in line
    )
    cells = [cell.strip() for cell in row.strip("│").split("│")]
    assert cells[:5] == ["small", "2", "200", "4", "euclidean"]


def test_list_reports_corrupt_collections_separately(run, blobs: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(blobs, copy)
    (copy / "torn").mkdir()
    (copy / "torn" / "current.json").write_bytes(b"{")
    done = run("collections", "list", "--blobs", copy)
    assert done.exit_code == 1
    assert "small" in done.stdout
    assert "torn: pointer" in done.stderr


def test_show_describes_a_version_and_its_measured_curve(run, blobs: Path) -> None:
    shown = run("collections", "show", "small", "--version", 1, "--blobs", blobs).stdout
    assert "version  1" in shown
    assert "200 x 4, euclidean" in shown
    assert "measured on 20 held-out vectors" in shown
    assert shown.count("default") == 1


def test_versions_roll_back_and_pin(run, blobs: Path, versions) -> None:
    assert versions() == {1: ("yes", "", ""), 2: ("yes", "yes", "")}
    assert "version 1 is now served" in run("collections", "rollback", "small", "--blobs", blobs).stdout
    run("collections", "pin", "small", 2, "--blobs", blobs)
    assert versions() == {1: ("yes", "yes", ""), 2: ("yes", "", "yes")}
    run("collections", "rollback", "small", 2, "--blobs", blobs)
    run("collections", "unpin", "small", 2, "--blobs", blobs)
    assert versions() == {1: ("yes", "", ""), 2: ("yes", "yes", "")}


def test_delete_old_prints_the_deleted_versions(run, blobs: Path, versions) -> None:
    assert "deleted nothing" in run("collections", "delete-old", "small", "--blobs", blobs).stdout
    gone = run("collections", "delete-old", "small", "--keep", 1, "--blobs", blobs).stdout
    assert "deleted version 1" in gone
    assert list(versions()) == [2]


def test_verify_reads_everything_and_finds_damage(run, blobs: Path) -> None:
    assert "all checksums match" in run("collections", "verify", "small", "--blobs", blobs).stdout
    chunk = next((blobs / "small" / "v2" / "chunks").iterdir())
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"?")
    result = run("collections", "verify", "small", "--blobs", blobs)
    assert result.exit_code == 2
    assert chunk.name in result.stderr


def test_the_blob_store_may_come_from_the_environment(
    run, blobs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VECTORCACHE_BLOB_URL", str(blobs))
    assert "small" in run("collections", "list").stdout
