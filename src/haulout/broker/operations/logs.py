"""Logs as lines of JSON. What may stand in them is listed, so that no secret can.

A record has a constant message, and facts under the names of :data:`FACTS`; everything else that somebody attaches to a
record is left out. Of an exception only its type and where it was raised are written: what others say in their messages
may be a statement with its values, a header, a key.
"""

from __future__ import annotations

import json
import logging
import secrets
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from haulout.local import printable

if TYPE_CHECKING:
    from typing import TextIO

ROOT: Final = "haulout.broker"
FACTS: Final = (
    "client",
    "method",
    "path",
    "status",
    "seconds",
    "received",
    "event",
    "decision",
    "rule",
    "workload",
    "owner",
    "machine",
    "tee",
    "session",
    "audit",
    "publication",
    "pause_seconds",
    "check",
    "count",
    "reason",
)
"""Names of facts. ``session`` is a session's public id, from which its cookie does not follow; ``reason`` is what an
error of Haulout says, which has no secret in it; ``path`` is without its query."""
_LONGEST: Final = 300
_FRAMES: Final = 20

_request: ContextVar[str] = ContextVar("request", default="")


def begin_request() -> str:
    """Give the request that this task serves an id, and return it."""
    found = secrets.token_hex(8)
    _request.set(found)
    return found


def current_request() -> str:
    """Return the id of the request that this task serves; "" where it serves none."""
    return _request.get()


class JsonLines(logging.Formatter):
    """Writes a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            # Never with its arguments, which are anything.
            "message": printable(str(record.msg)[:_LONGEST]),
        }
        if request := current_request():
            line["request"] = request
        for name in FACTS:
            value = getattr(record, name, None)
            if value is not None:
                line[name] = value if isinstance(value, int | float) else printable(str(value)[:_LONGEST])
        if record.exc_info and record.exc_info[0] is not None:
            frames = traceback.extract_tb(record.exc_info[2])[-_FRAMES:]
            line["exception"] = record.exc_info[0].__qualname__
            line["raised"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        return json.dumps(line)


def write_logs(stream: TextIO, *, level: int = logging.INFO) -> None:
    """Let the broker, and the server below it, log to a stream; whatever else logs in this process is not shown."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    for name in (ROOT, "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.propagate = False
        logger.setLevel(level)
    # Each request has a line of ours already; the server's would have the query.
    logging.getLogger("uvicorn.access").disabled = True
    for name in ("uvicorn.error", "uvicorn.asgi"):
        logging.getLogger(name).handlers.clear()
