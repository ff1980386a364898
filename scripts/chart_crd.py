"""Update the chart's copy of the CRD from its source in manifests/.

    python scripts/chart_crd.py            update the copy
    python scripts/chart_crd.py --check    exit with status 1 if the copy is outdated

The copy is needed because a chart cannot read files outside its own directory.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "manifests/crd/vectorcaches.yaml"
COPY = ROOT / "charts/vectorcache/files/vectorcaches.yaml"


def main(arguments: list[str]) -> int:
    """Update or check the copy. Return the exit status."""
    source = SOURCE.read_bytes()
    if COPY.is_file() and COPY.read_bytes() == source:
        return 0
    if "--check" in arguments:
        sys.stderr.write(
            f"{COPY.relative_to(ROOT)} differs from {SOURCE.relative_to(ROOT)}: run scripts/chart_crd.py\n"
        )
        return 1
    COPY.write_bytes(source)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
