"""A fresh ext4 file system as a stream of blocks in disk order: no root, no mount, no second copy.

``plan`` decides the place of everything and is pure; ``stream`` reads the files, in the order they lie in at their
source, and yields the file system from its first byte to its last. The same tree, UUID and time give the same bytes.
"""

from haulout.extras import require

require("numpy")

from haulout.workload.ext4.plan import Plan, plan  # noqa: E402
from haulout.workload.ext4.stream import stream  # noqa: E402

__all__ = ["Plan", "plan", "stream"]
