"""The optional packages of this room, asked for in one place so that their absence is said in one way."""

from __future__ import annotations

from importlib.util import find_spec

from haulout.errors import ToolError


def require(*packages: str, extra: str = "confidential") -> None:
    """Make sure that optional packages are there.

    Raises:
        ToolError: one is not installed; the hint says how to get it.
    """
    for package in packages:
        if find_spec(package) is None:
            raise ToolError(
                package,
                "this Python package is not installed, and evidence cannot be checked without it",
                hint=f"install it with: pip install 'haulout[{extra}]'",
            )
