"""One merged root file system out of a container's layers, or a folder. Nothing is ever unpacked.

Layers are read twice: first their headers, which make the tree; then, in the order they lie in, the bytes of the files
that are left. So memory does not grow with the size of files, and no entry can escape: there is nothing to escape to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.rootfs.folder import from_folder
    from haulout.rootfs.layers import from_layers, open_layer
    from haulout.rootfs.limits import Limits, Path
    from haulout.rootfs.nodes import Device, Directory, Fifo, File, Node, Socket, Symlink
    from haulout.rootfs.streams import Stream
    from haulout.rootfs.tree import FileReader, Tree

__all__ = [
    "Device",
    "Directory",
    "Fifo",
    "File",
    "FileReader",
    "Limits",
    "Node",
    "Path",
    "Socket",
    "Stream",
    "Symlink",
    "Tree",
    "from_folder",
    "from_layers",
    "open_layer",
]

open_face(
    __name__,
    {
        "folder": ("from_folder",),
        "layers": ("from_layers", "open_layer"),
        "limits": ("Limits", "Path"),
        "nodes": ("Device", "Directory", "Fifo", "File", "Node", "Socket", "Symlink"),
        "streams": ("Stream",),
        "tree": ("FileReader", "Tree"),
    },
)
