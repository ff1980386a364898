"""``python -m vectorcache_operator``: run the operator until SIGTERM."""

from __future__ import annotations

import sys

from vectorcache_operator.process import serve_operator
from vectorcache_operator.settings import OperatorSettings
from vectorcache_service.main import run_server

if __name__ == "__main__":
    sys.exit(run_server(OperatorSettings, serve_operator))
