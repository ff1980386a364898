"""Structured logs on standard error: one JSON object per line, or a human-readable format."""

from __future__ import annotations

import json
import logging
import sys
from typing import TextIO

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from vectorcache_service import request_id

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("json", "console")


def configure(level: str = "info", form: str = "json", stream: TextIO = sys.stderr) -> None:
    """Send the logs of structlog and of the standard library to ``stream``. Each entry has the id of its request.

    ``level`` is one of ``LEVELS``, ``form`` one of ``FORMATS``.
    A server's ``__main__`` calls this once, before ``make_app``.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    common: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
        _add_request_id,
    ]
    rendering: list[Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(_to_json)]
        if form == "json"
        else [structlog.dev.ConsoleRenderer(colors=stream.isatty())]
    )
    structlog.configure(
        processors=[*common, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*common, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    logging.basicConfig(level=number, handlers=[handler], force=True)
    if number > logging.DEBUG:
        logging.getLogger("azure").setLevel(logging.WARNING)  # at INFO it logs each request with its headers


def _to_json(event: EventDict, **_options: object) -> str:
    try:
        return msgspec.json.encode(event, enc_hook=repr).decode()
    except UnicodeEncodeError:  # undecodable bytes of a request: the slower encoder escapes them
        return json.dumps(event, default=repr)


def _add_request_id(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    identity = request_id.current()
    if identity:
        event["request_id"] = identity
    return event
