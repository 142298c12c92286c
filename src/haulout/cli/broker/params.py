"""What several verbs of a broker share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable


def state(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option that names a broker's folder."""
    return click.option(
        "--state",
        "folder",
        metavar="DIR",
        type=click.Path(path_type=Path),
        default=Path("/var/lib/haulout-broker"),
        show_default=True,
        envvar="HAULOUT_BROKER_STATE",
        help="The broker's folder: configuration, keys and, by default, its database.",
    )(function)
