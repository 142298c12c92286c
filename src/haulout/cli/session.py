"""One run of the command line: the common options, and how results are printed."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from haulout.cli.terminal import neutral

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from haulout.progress import Progress
    from haulout.registry import ConnectionOptions

SCHEMA = 1
"""Version of the JSON results; grows when a member goes away or changes its meaning."""


@dataclass(slots=True)
class Session:
    """Filled while the arguments are parsed: options common to all verbs may stand before and after the verb."""

    as_json: bool = False
    quiet: bool = False
    progress_mode: str = "auto"
    debug: bool = False
    debug_http: bool = False
    connection: dict[str, Any] = field(default_factory=dict)
    """Members of ConnectionOptions, by name."""
    given: set[str] = field(default_factory=set)
    """Options that the command line names; variables do not change them."""

    @classmethod
    def foreseen(cls, arguments: list[str], environment: Mapping[str, str]) -> Session:
        """Read from raw arguments how to report a failure, for arguments that do not parse."""
        before = arguments[: arguments.index("--")] if "--" in arguments else arguments
        pairs = pairwise(before)
        named = [two[1] for two in pairs if two[0] == "--progress"]
        named += [one.partition("=")[2] for one in before if one.startswith("--progress=")]
        json_lines = "json" in (named or [environment.get("HAULOUT_PROGRESS", "")])
        return cls(
            as_json="--json" in before or _is_set("HAULOUT_JSON", environment),
            debug="--debug" in before or _is_set("HAULOUT_DEBUG", environment),
            debug_http=_is_set("HAULOUT_DEBUG_HTTP", environment),
            progress_mode="json" if json_lines else "auto",
        )

    def progress(self) -> AbstractContextManager[Progress]:
        """Return the progress to work under; leaving the block clears the bars."""
        from haulout.cli.reporters import Mode, choose  # noqa: PLC0415 - not needed to print a result or an error

        return choose(Mode(self.progress_mode), sys.stderr, quiet=self.quiet, terminal=os.environ.get("TERM"))

    def connections(self) -> ConnectionOptions:
        """Return how to talk to registries."""
        from haulout.registry import ConnectionOptions  # noqa: PLC0415 - loads the HTTP client

        if self.debug_http:
            from haulout.cli.request_log import show_requests  # noqa: PLC0415

            show_requests()
        return ConnectionOptions(**self.connection)

    def result(
        self, verb: str, document: Mapping[str, Any], lines: Iterable[str], *, brief: str | Sequence[str] | None = None
    ) -> None:
        """Print the result.

        Args:
            verb: whose result it is.
            document: what ``--json`` prints, as one line.
            lines: what people read.
            brief: the line of ``--quiet``, or several; "": not even that; None: the same as without it.
        """
        if self.as_json:
            # ASCII only: no terminal, locale or log viewer can be confused by what a registry sent.
            print(json.dumps({"schema": SCHEMA, "verb": verb, **document}))
            return
        if self.quiet and brief is not None:
            # One line each: a name may hold a line break itself.
            lines = [brief] if brief and isinstance(brief, str) else brief
        for line in lines:
            print(neutral(line))


def _is_set(name: str, environment: Mapping[str, str]) -> bool:
    return environment.get(name, "") not in {"", "0"}
