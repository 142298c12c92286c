"""The record of decisions: rows and the chain of their hashes, pure."""

from __future__ import annotations

__all__: list[str] = []
