"""Azurite, the emulator of Azure Blob Storage, as a child process for tests, benchmarks and the demo."""

from __future__ import annotations

import base64
import os
import re
import secrets
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from vectorcache.errors import DeadlineExceeded, Unavailable
from vectorcache.stores.azure import AzureBlobStore

LOCAL_BINARY = Path("build/azurite/node_modules/.bin/azurite-blob")
"""Path to which ``scripts/azurite.sh`` installs the program, relative to the root of the project."""

ACCOUNT = "vectorcache"
POLL_SECONDS = 0.05
STOP_SECONDS = 10.0

_LISTENS = re.compile(r"listens on (http://127\.0\.0\.1:[1-9][0-9]*)")


class Azurite:
    """An in-memory emulator with one account and a random key, on a free port of the loopback interface.

        with Azurite(LOCAL_BINARY) as azurite:
            await azurite.create_container("vectors")
            store = open_blob_store(azurite.url("vectors"), azurite.environment)

    Args:
        binary: the program ``azurite-blob`` of the npm package ``azurite``.
        startup_seconds: time to wait until the emulator listens.
    """

    def __init__(self, binary: Path, *, startup_seconds: float = 30.0) -> None:
        self._binary = binary
        self._startup_seconds = startup_seconds
        self._key = base64.b64encode(secrets.token_bytes(32)).decode()
        self._workspace: tempfile.TemporaryDirectory[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._endpoint = ""

    @property
    def connection_string(self) -> str:
        """The connection string of the running emulator, for Azure clients."""
        return (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={self._key};"
            f"BlobEndpoint={self._endpoint}/{ACCOUNT};"
        )

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables with the credentials, for ``open_blob_store``."""
        return {"AZURE_STORAGE_CONNECTION_STRING": self.connection_string}

    def url(self, container: str) -> str:
        """Return the URL of a container for ``open_blob_store``. A prefix may be appended."""
        return f"azure://{ACCOUNT}/{container}"

    async def create_container(self, container: str) -> None:
        """Create a container if it does not exist."""
        async with AzureBlobStore.from_connection_string(self.connection_string, container) as store:
            await store.create_container()

    def start(self) -> None:
        """Start the emulator and wait until it listens.

        Raises:
            Unavailable: the emulator could not be started, ended, or did not listen in time.
        """
        self._workspace = tempfile.TemporaryDirectory(prefix="azurite-", ignore_cleanup_errors=True)
        output = Path(self._workspace.name, "output.txt")
        try:
            self._process = self._launch(output)
            self._endpoint = self._wait_until_it_listens(self._process, output)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the emulator and delete its data. A second call does nothing."""
        process, self._process = self._process, None
        if process is not None:
            _end(process)
        if self._workspace is not None:
            self._workspace.cleanup()
            self._workspace = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _launch(self, output: Path) -> subprocess.Popen[bytes]:
        # With port 0, the system picks a port that no other process can take in the meantime.
        options = ["--silent", "--skipApiVersionCheck", "--inMemoryPersistence", "--disableTelemetry"]
        where = ["--blobHost", "127.0.0.1", "--blobPort", "0"]
        try:
            with output.open("wb") as file:
                return subprocess.Popen(  # noqa: S603 - the caller names the program
                    [self._binary.absolute(), *options, *where],
                    cwd=output.parent,
                    env={**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{self._key}"},
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                )
        except OSError as error:
            raise Unavailable(f"Azurite could not be started: {error}") from error

    def _wait_until_it_listens(self, process: subprocess.Popen[bytes], output: Path) -> str:
        deadline = time.monotonic() + self._startup_seconds
        while time.monotonic() < deadline:
            ended = process.poll() is not None
            printed = output.read_text(errors="replace")
            if found := _LISTENS.search(printed):
                return found[1]
            if ended:
                raise Unavailable(f"Azurite ended with exit code {process.returncode}: {printed[-500:]}")
            time.sleep(POLL_SECONDS)
        raise DeadlineExceeded(f"Azurite did not listen within {self._startup_seconds:g} s")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
