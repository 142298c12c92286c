"""One call on a thread of its own, which Ctrl-C does not wait for."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")


class BackgroundCall(Generic[_T]):
    """A call under way on a daemon thread: it ends with the process, even if no one waits for it."""

    def __init__(self, work: Callable[[], _T], name: str) -> None:
        self._work = work
        self._result: _T | None = None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result = self._work()
        except BaseException as exc:  # noqa: BLE001 - raised where the result is asked for
            self._failure = exc

    def result(self) -> _T:
        """Wait for the call; return what it returned, or raise what it raised."""
        while self._thread.is_alive():
            # In steps: a wait without an end is not interrupted everywhere.
            self._thread.join(0.2)
        if self._failure is not None:
            raise self._failure
        return cast("_T", self._result)
