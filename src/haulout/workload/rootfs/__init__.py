"""One merged root file system out of a container's layers, or a folder. Nothing is ever unpacked.

Layers are read twice: first their headers, which make the tree; then, in the order they lie in, the bytes of the files
that are left. So memory does not grow with the size of files, and no entry can escape: there is nothing to escape to.
"""

from haulout.workload.rootfs.folder import from_folder
from haulout.workload.rootfs.layers import from_layers
from haulout.workload.rootfs.limits import Limits
from haulout.workload.rootfs.nodes import Device, Directory, Fifo, File, Node, Socket, Symlink
from haulout.workload.rootfs.tree import Tree

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
