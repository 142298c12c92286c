"""``haulout`` with faults: a share of the calls of the database fail, or the clock is wrong. For tests only.

Usage: python -m tests.support.faulty_broker ARGUMENTS OF HAULOUT. HAULOUT_FAULTS is a file with two numbers: the share of
calls that fail, and the seconds by which the clock is ahead. It is read at each call, so that a test can change it.
"""

from __future__ import annotations

import os
import random
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.exc import OperationalError

from haulout.broker.app import Broker
from haulout.cli.main import main

FILE = Path(os.environ["HAULOUT_FAULTS"])
NOISE = random.Random(11)


def faults() -> tuple[float, float]:
    share, ahead = FILE.read_text().split()
    return float(share), float(ahead)


def maybe_fail(*_: Any) -> None:
    if NOISE.random() < faults()[0]:
        raise OperationalError("a call", {}, Exception("the database went away"))


def run() -> int:
    for name in ("before_cursor_execute", "commit", "begin"):
        event.listen(Engine, name, maybe_fail)
    plain = Broker.__init__

    def with_its_clock(self: Broker, *given: Any, **named: Any) -> None:
        plain(self, *given, **named)
        self.now = lambda: datetime.now(UTC) + timedelta(seconds=faults()[1])

    Broker.__init__ = with_its_clock  # type: ignore[method-assign]
    return main()


if __name__ == "__main__":
    sys.exit(run())
