"""What the verbs of ``haulout broker collateral`` share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from haulout.cli.broker import params

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from haulout.brokers import CollateralReport


def folder(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say where it is, and what else is trusted."""
    test_root = click.option(
        "--test-root",
        "test_roots",
        metavar="SHA256",
        multiple=True,
        help="Trust this root, too: an emulator's, for tests only. May be repeated.",
    )
    cache = click.option(
        "--cache",
        metavar="DIR",
        type=click.Path(path_type=Path),
        help="Where it is kept. [default: STATE/collateral]",
    )
    return params.state(cache(test_root(function)))


def early(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option about what Intel announces."""
    return click.option(
        "--early", is_flag=True, help="What Intel announces: its documents after the next TCB recovery."
    )(function)


def lines(report: CollateralReport) -> Iterator[str]:
    """Say what is there."""
    yield f"{report.folder}: {len(report.entries)} file{'' if len(report.entries) == 1 else 's'}"
    for one in report.entries:
        yield f"  {one.name}"
        if one.publication is not None:
            yield f"    {one.publication.title}"
        if one.span is None:
            yield f"    NOT usable: {one.problem}"
        else:
            yield f"    valid until {one.span.until:%Y-%m-%d %H:%M} UTC, received {one.fetched:%Y-%m-%d %H:%M} UTC"
