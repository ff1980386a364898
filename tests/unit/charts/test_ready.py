"""What ``helm test`` runs, against a real server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

from tests.support.operator.chart import CHART

SCRIPT = CHART / "files/ready.py"


@contextmanager
def server(*statuses: int) -> Iterator[str]:
    """The URL of a server that answers each of these once, and the last for ever."""
    left = list(statuses)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(left.pop(0) if len(left) > 1 else left[0])
            self.end_headers()
            self.wfile.write(b'{"reasons": ["because"]}')

        def log_message(self, *_arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{running.server_address[1]}/readyz"
        finally:
            running.shutdown()
            thread.join(timeout=10)


def ready(seconds: str, *urls: str) -> subprocess.CompletedProcess[str]:
    # As in the pod: the text of the file, not the file.
    command = [sys.executable, "-c", SCRIPT.read_text(), seconds, *urls]
    return subprocess.run(command, capture_output=True, text=True, timeout=30)


def test_it_passes_when_all_are_ready() -> None:
    with server(200) as one, server(200) as two:
        done = ready("10", one, two)
    assert (done.returncode, done.stdout.count("is ready")) == (0, 2)


def test_it_waits_for_what_is_not_ready_yet() -> None:
    with server(503, 200) as url:
        assert ready("10", url).returncode == 0


def test_it_fails_at_the_deadline_with_what_was_said() -> None:
    with server(200) as one, server(503) as two:
        done = ready("0.1", one, two)
    assert done.returncode == 1
    assert f'{two} is not ready: 503 {{"reasons": ["because"]}}' in done.stdout


def test_it_fails_where_nobody_listens() -> None:
    with server(200) as url:
        pass
    done = ready("0.1", url)
    assert (done.returncode, done.stderr) == (1, "")
    assert "refused" in done.stdout
