from __future__ import annotations

import sys
from pathlib import Path

import pytest

from vectorcache.errors import DeadlineExceeded, Unavailable
from vectorcache.stores import open_blob_store
from vectorcache_tools.azurite import Azurite


def program(folder: Path, text: str) -> Path:
    path = folder / "azurite-blob"
    path.write_text(f"#!{sys.executable}\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.azurite
async def test_serves_blobs(azurite: Azurite, azurite_url: str) -> None:
    async with open_blob_store(azurite_url, azurite.environment) as store:
        await store.put("a", b"x")
        assert (await store.get("a")).data == b"x"


@pytest.mark.azurite
async def test_a_container_is_created_once(azurite: Azurite) -> None:
    await azurite.create_container("twice")
    await azurite.create_container("twice")


def test_a_missing_program_is_an_error(tmp_path: Path) -> None:
    azurite = Azurite(tmp_path / "missing")
    with pytest.raises(Unavailable, match="could not be started"):
        azurite.start()
    azurite.stop()


def test_a_program_that_ends_is_an_error_with_its_output(tmp_path: Path) -> None:
    binary = program(tmp_path, "print('no such option'); raise SystemExit(3)")
    with pytest.raises(Unavailable, match="ended with exit code 3: no such option"), Azurite(binary):
        pass


def test_a_program_that_does_not_listen_is_ended(tmp_path: Path) -> None:
    binary = program(tmp_path, "import threading; threading.Event().wait()")
    with pytest.raises(DeadlineExceeded, match=r"within 0.1 s"):
        Azurite(binary, startup_seconds=0.1).start()


def test_stop_ends_the_program_and_its_workspace(tmp_path: Path) -> None:
    text = """
import os, threading
print("Azurite Blob service successfully listens on http://127.0.0.1:12345", flush=True)
open("pid", "w").write(str(os.getpid()))
threading.Event().wait()
"""
    with Azurite(program(tmp_path, text)) as azurite:
        assert "BlobEndpoint=http://127.0.0.1:12345/vectorcache;" in azurite.connection_string
        process, workspace = azurite._process, Path(azurite._workspace.name)
        assert process.poll() is None
        assert workspace.exists()
    assert process.returncode is not None
    assert not workspace.exists()
    azurite.stop()


def test_each_emulator_has_its_own_key(tmp_path: Path) -> None:
    assert Azurite(tmp_path).connection_string != Azurite(tmp_path).connection_string
