from __future__ import annotations

import pytest

from vectorcache_tools.cli.options import readable_bytes


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0.0 KiB"),
        (1536, "1.5 KiB"),
        (95 << 20, "95.0 MiB"),
        (3 << 30, "3.0 GiB"),
        (5 << 40, "5,120.0 GiB"),
    ],
)
def test_bytes_have_the_unit_that_fits(size: int, text: str) -> None:
    assert readable_bytes(size) == text
