"""dm-verity: a tree of hashes by which the kernel detects every modified block.

Source: Linux, Documentation/admin-guide/device-mapper/verity.rst, and the superblock of ``veritysetup``. Format 1,
SHA-256, blocks of 4096 bytes for data and for hashes.
"""

from haulout.errors import RefusedVerity, VerityMismatch
from haulout.workload.verity.check import check
from haulout.workload.verity.superblock import BLOCK, Rule, Superblock, read_superblock, size_for
from haulout.workload.verity.tree import Hashes, Tree

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
