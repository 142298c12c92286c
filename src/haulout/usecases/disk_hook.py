"""A program of the user's that takes part in an update of a disk: it may refuse it, use the new disk, and undo that."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from haulout.errors import ToolError
from haulout.local import run

if TYPE_CHECKING:
    from collections.abc import Mapping

HookEvent: TypeAlias = Literal["prepare", "ready", "failed"]


class HookFailed(ToolError):  # noqa: N818 - named by what is wrong, as the others of the tree
    """A hook said no, or could not be run; ``event`` is what it was told."""

    def __init__(self, program: str, event: str, reason: str) -> None:
        self.event = event
        super().__init__(
            os.path.basename(program),  # noqa: PTH119 - a name, not a path to open
            f"the hook said no to {event!r}: {reason}",
            hint="nothing was fetched"
            if event == "prepare"
            else "the old disk is as it was, and what this run made is removed",
        )


@dataclass(frozen=True, slots=True)
class DiskHook:
    """A program that is told of each step (docs/update-disk.md)."""

    program: str
    seconds: float = 900.0
    """After which it counts as failed, and is ended with all it started."""

    def call(self, event: HookEvent, facts: Mapping[str, str | None]) -> None:
        """Run it, and return when it agrees.

        Args:
            event: what happens.
            facts: names and values that it gets: JSON on standard input, and ``HAULOUT_HOOK_NAME`` in its environment.

        Raises:
            HookFailed: it ended with another code than 0, by a signal, or not in time.
            ToolError: it cannot be started.
        """
        told = {"event": event, **facts}
        named = {f"HAULOUT_HOOK_{name.upper()}": value for name, value in told.items() if value is not None}
        done = run(
            [self.program],
            seconds=self.seconds,
            stdin=json.dumps(told).encode() + b"\n",
            environment={**os.environ, **named},
            hint="name an executable file with --hook",
        )
        if done.code:
            ended = f"exit code {done.code}" if done.code > 0 else f"signal {-done.code}"
            raise HookFailed(self.program, event, f"{ended}{f', {done.said}' if done.said else ''}")
