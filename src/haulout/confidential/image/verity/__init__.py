"""dm-verity: a tree of hashes by which the kernel finds out every block that is not what it was.

Source: Linux, Documentation/admin-guide/device-mapper/verity.rst, and the superblock of ``veritysetup``. Format 1,
SHA-256, blocks of 4096 bytes for data and for hashes.
"""

from haulout.confidential.image.verity.check import check
from haulout.confidential.image.verity.superblock import BLOCK, Rule, Superblock, read_superblock, size_for
from haulout.confidential.image.verity.tree import Hashes, Tree
from haulout.errors import RefusedVerity, VerityMismatch

__all__ = [
    "BLOCK",
    "Hashes",
    "RefusedVerity",
    "Rule",
    "Superblock",
    "Tree",
    "VerityMismatch",
    "check",
    "read_superblock",
    "size_for",
]
