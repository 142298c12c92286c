"""Whether a broker lives, and whether it can serve: checks that are run at most once in a while."""

from __future__ import annotations

import logging
from threading import Lock
from typing import TYPE_CHECKING, Final

from haulout.errors import HauloutError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_LOG: Final = logging.getLogger("haulout.broker.health")
FRESH_SECONDS: Final = 2.0
"""How long an answer counts: whoever asks, and how often, the database is asked twice a second at most."""


class Readiness:
    """Checks by name; each returns where all is well, and raises HauloutError where not.

    Args:
        checks: such as ``database``, ``kek``, ``signing-key``, ``audit``.
        monotonic: seconds.
    """

    def __init__(self, checks: Mapping[str, Callable[[], None]], monotonic: Callable[[], float]) -> None:
        self._checks = dict(checks)
        self._monotonic = monotonic
        self._lock = Lock()
        self._known: tuple[float, dict[str, bool]] | None = None

    def ask(self) -> dict[str, bool]:
        """Return which checks hold. Why one does not is in the log: the answer is for everybody."""
        with self._lock:
            now = self._monotonic()
            if self._known is None or now - self._known[0] >= FRESH_SECONDS:
                self._known = now, {name: self._holds(name) for name in self._checks}
            return dict(self._known[1])

    def _holds(self, name: str) -> bool:
        try:
            self._checks[name]()
        except (HauloutError, OSError) as exc:
            _LOG.warning("not ready", extra={"check": name, "reason": str(exc)})
            return False
        return True
