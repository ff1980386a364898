"""Bring the chart's copy of the CRD up to date with its source in manifests/.

    python scripts/chart_crd.py            copy it
    python scripts/chart_crd.py --check    say whether that would change anything; exit status 1 if so

A chart cannot read files outside its own folder, hence the copy.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "manifests/crd/vectorcaches.yaml"
COPY = ROOT / "charts/vectorcache/files/vectorcaches.yaml"


def main(arguments: list[str]) -> int:
    """Copy or check; return the process's exit status."""
    source = SOURCE.read_bytes()
    if COPY.is_file() and COPY.read_bytes() == source:
        return 0
    if "--check" in arguments:
        sys.stderr.write(
            f"{COPY.relative_to(ROOT)} is not {SOURCE.relative_to(ROOT)}: run scripts/chart_crd.py\n"
        )
        return 1
    COPY.write_bytes(source)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
