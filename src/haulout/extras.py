"""The optional packages of this room, asked for in one place so that their absence is said in one way."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

from haulout.errors import ToolError

_DISTRIBUTIONS: Final = {"sevsnpmeasure": "sev-snp-measure"}
"""Names under which packages are installed, where it is not the name by which they are imported."""


def require(*packages: str, extra: str = "confidential") -> None:
    """Make sure that optional packages are there.

    Raises:
        ToolError: one is not installed; the hint says how to get it.
    """
    for package in packages:
        if find_spec(package) is None:
            raise ToolError(
                _DISTRIBUTIONS.get(package, package),
                "this Python package is not installed, and what was asked needs it",
                hint=f"install it with: pip install 'haulout[{extra}]'",
            )
