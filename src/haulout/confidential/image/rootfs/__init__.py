"""One merged root file system out of a container's layers, or a folder. Nothing is ever unpacked.

Layers are read twice: first their headers, which make the tree; then, in the order they lie in, the bytes of the files
that are left. So memory does not grow with the size of files, and no entry can escape: there is nothing to escape to.
"""

from haulout.confidential.image.rootfs.folder import from_folder
from haulout.confidential.image.rootfs.layers import from_layers
from haulout.confidential.image.rootfs.limits import Limits
from haulout.confidential.image.rootfs.nodes import Device, Directory, Fifo, File, Node, Socket, Symlink
from haulout.confidential.image.rootfs.tree import Tree

__all__ = [
    "Device",
    "Directory",
    "Fifo",
    "File",
    "Limits",
    "Node",
    "Socket",
    "Symlink",
    "Tree",
    "from_folder",
    "from_layers",
]
