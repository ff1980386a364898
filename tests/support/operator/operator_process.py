"""The operator as a process beside the tests, against the cluster that KUBECONFIG names."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.operator.kubectl import ROOT

SECONDS = 30.0


@dataclass(slots=True)
class OperatorProcess:
    """One that runs; ``log`` is its standard error."""

    process: subprocess.Popen[str]
    url: str
    log: Path

    def metrics(self) -> dict[str, float]:
        """Every series and its value."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {series: float(value) for series, _, value in pairs}

    def writes(self) -> dict[str, float]:
        """Requests so far that were no GETs, by series."""
        return {
            series: value
            for series, value in self.metrics().items()
            if series.startswith("vectorcache_operator_api_requests_total") and 'method="GET"' not in series
        }

    def kill(self) -> None:
        """End it without notice."""
        self.process.kill()
        self.process.wait(SECONDS)


@contextmanager
def operator(log: Path, *namespaces: str, resync: str = "120s") -> Iterator[OperatorProcess]:
    """Run the operator for these namespaces, or for all; it is ready when this enters."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT / "operator"),
        "VECTORCACHE_NAMESPACES": ",".join(namespaces),
        "VECTORCACHE_LISTEN": "127.0.0.1:0",
        "VECTORCACHE_RESYNC": resync,
        "VECTORCACHE_ROUTER_POLL": "1s",
    }
    command = [sys.executable, "-m", "vectorcache_operator"]
    with log.open("a") as errors:
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=ROOT
        )
    try:
        assert process.stdout is not None
        found = re.search(r"listening on (\S+)", process.stdout.readline())
        assert found, f"the operator did not start: {log.read_text()[-2000:]}"
        running = OperatorProcess(process, found[1], log)
        _wait_until_ready(running)
        yield running
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(SECONDS)
        if process.stdout is not None:
            process.stdout.close()


def _wait_until_ready(running: OperatorProcess) -> None:
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"{running.url}/readyz", timeout=5):
                return
        except OSError:
            assert time.monotonic() < deadline, running.log.read_text()[-2000:]
            time.sleep(0.05)
