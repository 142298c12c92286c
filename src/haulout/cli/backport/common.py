"""What the verbs of ``haulout backport`` share: options, and how commits and branches look."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from haulout.backports import Commit

    Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

LEDGER = "backports.toml"


def library(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--lib``."""
    option = click.option(
        "--lib",
        type=click.Path(path_type=Path),
        metavar="REPO",
        default=Path(),
        help="The library's clone.  [default: the current folder]",
    )
    return option(function)


def ledger(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--ledger``."""
    option = click.option(
        "--ledger",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="The ledger; fix records are in fixes/ beside it.  [default: $HAULOUT_LEDGER, or ./backports.toml]",
    )
    return option(function)


def main_branch(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--main``."""
    option = click.option(
        "--main", metavar="BRANCH", help="The branch that fixes come from.  [default: the remote's HEAD, or main]"
    )
    return option(function)


def found_ledger(given: Path | None, *, create: bool = False) -> Path | None:
    """Return the ledger to use; None: there is none, and nobody asked for one.

    Raises:
        NotFoundError: the one that was asked for is not there.
    """
    from haulout.errors import NotFoundError  # noqa: PLC0415

    named = os.environ.get("HAULOUT_LEDGER", "")
    path = given or (Path(named) if named else None)
    if path is None:
        path = Path(LEDGER)
        return path if create or path.exists() else None
    if path.is_dir():
        path /= LEDGER
    if not create and not path.exists() and not (path.parent / "fixes").is_dir():
        raise NotFoundError(f"no such ledger: {path}", hint="haulout backport branch begins one")
    return path


def commit_document(commit: Commit) -> dict[str, Any]:
    """Return the JSON of a commit."""
    return {"commit": commit.oid, "subject": commit.subject, "author": f"{commit.author} <{commit.email}>"}
