"""The optional packages, asked for in one place so that their absence is reported in one way.

:data:`np` stands for numpy until something is asked of it: any module may import it, and a command that does not
compute with it neither loads nor needs it.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from haulout.errors import ToolError

__all__ = ["np", "require"]

_DISTRIBUTIONS: Final = {"socks": "PySocks", "sevsnpmeasure": "sev-snp-measure"}
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


class _Deferred(ModuleType):
    """Stands for an optional package, which is imported when something is asked of it."""

    def __init__(self, name: str, extra: str) -> None:
        super().__init__(name)
        self._extra = extra

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)  # what the import system asks of every module
        require(self.__name__, extra=self._extra)
        package = import_module(self.__name__)
        # From now on, names are found here, as quickly as in the package.
        self.__dict__.update(vars(package))
        return getattr(package, name)


if TYPE_CHECKING:
    import numpy as np
else:
    np = _Deferred("numpy", "deltas")
