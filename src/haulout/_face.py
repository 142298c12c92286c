"""Faces of rooms: the names a package offers, each imported on first use (PEP 562).

A face costs nothing until a name is asked for, so that a verb loads only what it needs.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Room(ModuleType):
    """A package whose public names cannot be hidden by a submodule of the same name.

    Importing ``haulout.frames.pack``, the module, would otherwise put it in the place of ``haulout.frames.pack``, the
    function, whenever that happens. The module stays reachable by ``from haulout.frames.pack import …``.
    """

    _homes: Mapping[str, str]

    def __setattr__(self, name: str, value: Any) -> None:
        if not (isinstance(value, ModuleType) and name in self._homes):
            super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        home = self._homes.get(name)
        if home is None:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        value = self.__dict__[name] = getattr(import_module(home), name)
        return value

    def __dir__(self) -> list[str]:
        return sorted(self.__all__)


def open_face(package: str, homes: Mapping[str, tuple[str, ...]], root: str | None = None) -> None:
    """Let ``package`` offer the names of ``homes``: module, relative to ``root`` (None: to the package), → names."""
    room = sys.modules[package]
    at = root or package
    room.__dict__["_homes"] = {name: f"{at}.{module}" for module, names in homes.items() for name in names}
    room.__class__ = _Room
