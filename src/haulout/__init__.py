"""Ship, pull and update bootable machine disks through ordinary OCI registries.

The verbs of the command line are functions here::

    import haulout

    pulled = haulout.pull("registry.example.com/machines:5.0", disk_type=haulout.DiskType.QEMU)
    print(pulled.path, pulled.pinned)

Everything named in ``__all__`` is public and stable; it is imported on first use (PEP 562), so ``import haulout`` costs
next to nothing.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from haulout.disk import DiskFormat, DiskInfo, DiskType, inspect
    from haulout.errors import HauloutError
    from haulout.fetch import PullResult
    from haulout.oci import Architecture, Digest, Reference, parse_reference
    from haulout.progress import NullProgress, Progress
    from haulout.publish import DeltaResult, PushedDisk, PushResult
    from haulout.registry import ConnectionOptions
    from haulout.usecases import DiskSource, delta, inventory, pull, push, resolve

__version__: Final = "0.1.0"

__all__ = [
    "Architecture",
    "ConnectionOptions",
    "DeltaResult",
    "Digest",
    "DiskFormat",
    "DiskInfo",
    "DiskSource",
    "DiskType",
    "HauloutError",
    "NullProgress",
    "Progress",
    "PullResult",
    "PushResult",
    "PushedDisk",
    "Reference",
    "__version__",
    "delta",
    "inspect",
    "inventory",
    "parse_reference",
    "pull",
    "push",
    "resolve",
]

_HOMES: Final = {
    "haulout.disk": ("DiskFormat", "DiskInfo", "DiskType", "inspect"),
    "haulout.errors": ("HauloutError",),
    "haulout.oci": ("Architecture", "Digest", "Reference", "parse_reference"),
    "haulout.progress": ("NullProgress", "Progress"),
    "haulout.registry": ("ConnectionOptions",),
    "haulout.usecases.delta": ("delta",),
    "haulout.usecases.lookup": ("inventory", "resolve"),
    "haulout.usecases.pull": ("pull",),
    "haulout.usecases.push": ("DiskSource", "push"),
    "haulout.fetch.results": ("PullResult",),
    "haulout.publish.results": ("DeltaResult", "PushResult", "PushedDisk"),
}
_HOME_OF: Final = {name: home for home, names in _HOMES.items() for name in names}


class _Library(ModuleType):
    """A module whose public names cannot be hidden by a subpackage of the same name.

    Importing ``haulout.resolve``, the package, would otherwise put it in the place of ``haulout.resolve``, the verb, at
    whatever moment that happens. The package stays reachable by ``from haulout.resolve import …``.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOME_OF and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'haulout' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


sys.modules[__name__].__class__ = _Library
