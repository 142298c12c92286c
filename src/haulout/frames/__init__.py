"""Chunked disks: blocks, framing, TOC and plan (pure); packing, surveying and applying (I/O)."""
