"""Chunked disks: blocks, framing, TOC and plan (pure); packing, surveying and applying (I/O)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.frames.apply import apply
    from haulout.frames.base import Base
    from haulout.frames.blocks import BLOCK, Hashes, Mask, block_count, hash_blocks
    from haulout.frames.check import has_frames, hash_file, require_disk
    from haulout.frames.delta import MAX_HINTS_BYTES, MAX_INDEX_BYTES, DeltaIndex
    from haulout.frames.delta_expand import Located, expand
    from haulout.frames.delta_make import DEFAULT_LEVEL, make_delta
    from haulout.frames.delta_map import Kinds, Source
    from haulout.frames.frame_reuse import FrameSource, Takeover
    from haulout.frames.framing import Kind
    from haulout.frames.pack import Guide, Packed, pack
    from haulout.frames.plan import HINT_BYTES, Link, Slice, hint_ranges, slices, wanted_frames
    from haulout.frames.rebuild import Rebuilder, Rebuilding
    from haulout.frames.runs import spread
    from haulout.frames.seeds import (
        MISSING,
        ZEROS,
        Blocks,
        Numbers,
        Piece,
        SeedIndex,
        SeedNumbers,
        Wanted,
        join_blocks,
        join_groups,
        known_parts,
        read_pieces,
        same_frames,
        scan,
        stored_bytes,
        stored_parts,
    )
    from haulout.frames.small_frames import MAX_CRUMB, MAX_CRUMBS_BYTES, crumb_frames, read_crumbs
    from haulout.frames.survey import frames_in_place, holds, survey
    from haulout.frames.toc import MAX_TOC_BYTES, Toc, toc_frames

__all__ = [
    "BLOCK",
    "DEFAULT_LEVEL",
    "HINT_BYTES",
    "MAX_CRUMB",
    "MAX_CRUMBS_BYTES",
    "MAX_HINTS_BYTES",
    "MAX_INDEX_BYTES",
    "MAX_TOC_BYTES",
    "MISSING",
    "ZEROS",
    "Base",
    "Blocks",
    "DeltaIndex",
    "FrameSource",
    "Guide",
    "Hashes",
    "Kind",
    "Kinds",
    "Link",
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
    "Takeover",
    "Toc",
    "Wanted",
    "apply",
    "block_count",
    "crumb_frames",
    "expand",
    "frames_in_place",
    "has_frames",
    "hash_blocks",
    "hash_file",
    "hint_ranges",
    "holds",
    "join_blocks",
    "join_groups",
    "known_parts",
    "make_delta",
    "pack",
    "read_crumbs",
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
        "base": ("Base",),
        "blocks": ("BLOCK", "Hashes", "Mask", "block_count", "hash_blocks"),
        "check": ("has_frames", "hash_file", "require_disk"),
        "delta": ("DeltaIndex", "MAX_HINTS_BYTES", "MAX_INDEX_BYTES"),
        "delta_expand": ("Located", "expand"),
        "delta_make": ("DEFAULT_LEVEL", "make_delta"),
        "delta_map": ("Kinds", "Source"),
        "frame_reuse": ("FrameSource", "Takeover"),
        "framing": ("Kind",),
        "pack": ("Guide", "Packed", "pack"),
        "plan": ("HINT_BYTES", "Link", "Slice", "hint_ranges", "slices", "wanted_frames"),
        "rebuild": ("Rebuilder", "Rebuilding"),
        "runs": ("spread",),
        "seeds": (
            "Blocks",
            "MISSING",
            "Numbers",
            "Piece",
            "SeedIndex",
            "SeedNumbers",
            "Wanted",
            "ZEROS",
            "join_blocks",
            "join_groups",
            "known_parts",
            "read_pieces",
            "same_frames",
            "scan",
            "stored_bytes",
            "stored_parts",
        ),
        "small_frames": ("MAX_CRUMB", "MAX_CRUMBS_BYTES", "crumb_frames", "read_crumbs"),
        "survey": ("frames_in_place", "holds", "survey"),
        "toc": ("MAX_TOC_BYTES", "Toc", "toc_frames"),
    },
)
