"""Disks as frames: blocks, framing, tables of contents and plans (pure); packing, surveying and applying (I/O).

Importing it needs no numpy; seeds, deltas and bases do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.frames.apply import apply
    from haulout.frames.arrays import Hashes, Kinds, Mask, Numbers, SeedNumbers
    from haulout.frames.base import Base
    from haulout.frames.blocks import BLOCK, HINT_BYTES, block_count, hash_blocks
    from haulout.frames.check import hash_file, require_disk
    from haulout.frames.delta.expand import Located, expand
    from haulout.frames.delta.index import MAX_HINTS_BYTES, MAX_INDEX_BYTES, DeltaIndex
    from haulout.frames.delta.make import DEFAULT_LEVEL, make_delta
    from haulout.frames.delta.map import Source
    from haulout.frames.delta.runs import spread
    from haulout.frames.frame_reuse import FrameReuse, FrameSource
    from haulout.frames.pack import Guide, Packed, pack
    from haulout.frames.pieces import MISSING, ZEROS, Piece, read_pieces, stored_bytes, stored_parts
    from haulout.frames.plan import Slice, hint_ranges, slices, wanted_frames
    from haulout.frames.rebuild import Rebuilder, Rebuilding
    from haulout.frames.seeds import Blocks, SeedIndex, Wanted, join_blocks, join_groups, known_parts, same_frames, scan
    from haulout.frames.small_frames import MAX_BUNDLE_BYTES, MAX_SMALL_FRAME, bundled_frames, read_bundle
    from haulout.frames.survey import frames_in_place, has_frames, holds, holds_frame, survey
    from haulout.frames.toc import MAX_TOC_BYTES, FrameFlags, Toc, toc_frames

__all__ = [
    "BLOCK",
    "DEFAULT_LEVEL",
    "HINT_BYTES",
    "MAX_BUNDLE_BYTES",
    "MAX_HINTS_BYTES",
    "MAX_INDEX_BYTES",
    "MAX_SMALL_FRAME",
    "MAX_TOC_BYTES",
    "MISSING",
    "ZEROS",
    "Base",
    "Blocks",
    "DeltaIndex",
    "FrameFlags",
    "FrameReuse",
    "FrameSource",
    "Guide",
    "Hashes",
    "Kinds",
    "Located",
    "Mask",
    "Numbers",
    "Packed",
    "Piece",
    "Rebuilder",
    "Rebuilding",
    "SeedIndex",
    "SeedNumbers",
    "Slice",
    "Source",
    "Toc",
    "Wanted",
    "apply",
    "block_count",
    "bundled_frames",
    "expand",
    "frames_in_place",
    "has_frames",
    "hash_blocks",
    "hash_file",
    "hint_ranges",
    "holds",
    "holds_frame",
    "join_blocks",
    "join_groups",
    "known_parts",
    "make_delta",
    "pack",
    "read_bundle",
    "read_pieces",
    "require_disk",
    "same_frames",
    "scan",
    "slices",
    "spread",
    "stored_bytes",
    "stored_parts",
    "survey",
    "toc_frames",
    "wanted_frames",
]

open_face(
    __name__,
    {
        "apply": ("apply",),
        "arrays": ("Hashes", "Kinds", "Mask", "Numbers", "SeedNumbers"),
        "base": ("Base",),
        "blocks": ("BLOCK", "HINT_BYTES", "block_count", "hash_blocks"),
        "check": ("hash_file", "require_disk"),
        "delta.expand": ("Located", "expand"),
        "delta.index": ("MAX_HINTS_BYTES", "MAX_INDEX_BYTES", "DeltaIndex"),
        "delta.make": ("DEFAULT_LEVEL", "make_delta"),
        "delta.map": ("Source",),
        "delta.runs": ("spread",),
        "frame_reuse": ("FrameReuse", "FrameSource"),
        "pack": ("Guide", "Packed", "pack"),
        "pieces": ("MISSING", "ZEROS", "Piece", "read_pieces", "stored_bytes", "stored_parts"),
        "plan": ("Slice", "hint_ranges", "slices", "wanted_frames"),
        "rebuild": ("Rebuilder", "Rebuilding"),
        "seeds": ("Blocks", "SeedIndex", "Wanted", "join_blocks", "join_groups", "known_parts", "same_frames", "scan"),
        "small_frames": ("MAX_BUNDLE_BYTES", "MAX_SMALL_FRAME", "bundled_frames", "read_bundle"),
        "survey": ("frames_in_place", "has_frames", "holds", "holds_frame", "survey"),
        "toc": ("MAX_TOC_BYTES", "FrameFlags", "Toc", "toc_frames"),
    },
)
