"""Where the passphrase of an export comes from: a file, a variable or the terminal, never the command line."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

import click

from haulout.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

VARIABLE: Final = "HAULOUT_PASSPHRASE"


def option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--passphrase-file``."""
    text = f"Read the passphrase from FILE, or - for standard input; the variable {VARIABLE} is another way."
    return click.option("--passphrase-file", metavar="FILE", help=text)(function)


def given(file: str | None) -> bytes | None:
    """Return the passphrase of the file or the variable; None where there is neither.

    Raises:
        UsageError: it is empty.
    """
    if file is not None:
        from haulout.workload import read_passphrase  # noqa: PLC0415

        return read_passphrase(file)
    return os.environb.get(VARIABLE.encode()) or None


def asked(*, twice: bool) -> bytes:
    """Ask on the terminal.

    Raises:
        UsageError: there is none, or nothing was typed.
    """
    if not sys.stdin.isatty():
        raise UsageError("no terminal to ask for the passphrase", hint=f"use --passphrase-file FILE, or set {VARIABLE}")
    answer: str = click.prompt("passphrase of the export", hide_input=True, confirmation_prompt=twice, err=True)
    return answer.encode()
