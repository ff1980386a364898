"""A server of a few lines in a process of its own: says where it listens, is ready, ends with 0 at SIGTERM.

Run with a folder as its argument it is not ready before the folder has a file ``ready``.
"""

from __future__ import annotations

import signal
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import FrameType

FOLDER = Path(sys.argv[1]) if len(sys.argv) > 1 else None


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        ready = FOLDER is None or (FOLDER / "ready").exists()
        self.send_response(200 if ready else 503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def end(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, end)
    server = HTTPServer(("127.0.0.1", 0), Handler)
    sys.stdout.write(f"starting\nlistening on http://127.0.0.1:{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()
