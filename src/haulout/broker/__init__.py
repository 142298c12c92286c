"""The key broker: it releases keys to genuine confidential hardware, and keeps a record of each decision."""

from __future__ import annotations

__all__: list[str] = []
