from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from vectorcache_service import logs, request_id


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, before = root.handlers[:], root.level, structlog.get_config()
    yield
    structlog.configure(**before)
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


async def test_both_kinds_of_loggers_write_json_lines_with_the_request_id() -> None:
    stream = io.StringIO()
    logs.configure("info", "json", stream)
    request_id.begin("r-7")
    structlog.get_logger().info("ours", count=1)
    logging.getLogger("library").warning("theirs %d", 2)
    structlog.get_logger().debug("not at this level")
    ours, theirs = lines(stream)
    assert (ours["event"], ours["count"], ours["level"]) == ("ours", 1, "info")
    assert (theirs["event"], theirs["logger"], theirs["level"]) == ("theirs 2", "library", "warning")
    assert ours["request_id"] == theirs["request_id"] == "r-7"
    assert str(ours["timestamp"]).endswith("Z")


@pytest.mark.parametrize("level", ["debug", "error"])
def test_the_level_holds_for_both(level: str) -> None:
    stream = io.StringIO()
    logs.configure(level, "json", stream)
    structlog.get_logger().debug("ours")
    logging.getLogger("library").debug("theirs")
    assert [line["event"] for line in lines(stream)] == (["ours", "theirs"] if level == "debug" else [])


def test_odd_values_and_traces_stay_one_line() -> None:
    stream = io.StringIO()
    logs.configure("info", "json", stream)
    try:
        raise ValueError("why")
    except ValueError:
        structlog.get_logger().exception("failed", path="/\udcff", value={1, 2}.__class__)
    (line,) = lines(stream)
    assert "ValueError: why" in str(line["exception"])


def test_the_console_format_is_for_people() -> None:
    stream = io.StringIO()
    logs.configure("info", "console", stream)
    structlog.get_logger().info("ours", count=1)
    assert "ours" in stream.getvalue()
    assert "count=1" in stream.getvalue()
