"""One call on a thread of its own, which Ctrl-C does not wait for."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")


class BackgroundCall(Generic[_T]):
    """A call under way on a daemon thread: it ends with the process if nobody waits for it.

    Args:
        work: what is called.
        name: of the thread.
        begin: whether it begins at once, or with the first call of :meth:`begin` or :meth:`result`.
    """

    def __init__(self, work: Callable[[], _T], name: str, *, begin: bool = True) -> None:
        self._work = work
        self._result: _T | None = None
        self._failure: BaseException | None = None
        self._lock = threading.Lock()
        self._begun = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        if begin:
            self.begin()

    def begin(self) -> None:
        """Begin, unless it has begun; from any thread."""
        with self._lock:
            if not self._begun:
                self._thread.start()
                self._begun = True

    def _run(self) -> None:
        try:
            self._result = self._work()
        except BaseException as exc:  # noqa: BLE001 - raised where the result is asked for
            self._failure = exc

    def wait(self) -> None:
        """Wait for the call, if it has begun."""
        while self._thread.is_alive():
            # In steps: a wait without an end is not interrupted everywhere.
            self._thread.join(0.2)

    def result(self) -> _T:
        """Wait for the call; return what it returned, or raise what it raised."""
        self.begin()
        self.wait()
        if self._failure is not None:
            raise self._failure
        return cast("_T", self._result)
