"""``--debug-http``: the request log of ``haulout.http`` on standard error."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from typing import Final

from haulout.cli.terminal import neutral

_LOG: Final = logging.getLogger("haulout.http")


class _Stderr(logging.Handler):
    """Prints to what standard error is at that moment: bars replace it, so that lines appear above them."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError, ValueError):
            if sys.stderr is not None:
                print(neutral(record.getMessage()), file=sys.stderr, flush=True)


_HANDLER: Final = _Stderr()


def show_requests() -> None:
    """Print each request from here on."""
    _LOG.addHandler(_HANDLER)
    _LOG.setLevel(logging.DEBUG)


def hide_requests() -> None:
    """Undo :func:`show_requests`."""
    _LOG.removeHandler(_HANDLER)
    _LOG.setLevel(logging.NOTSET)
