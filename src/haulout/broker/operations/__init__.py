"""What keeps a broker running: console, metrics, health, limits, vendor collateral."""

from __future__ import annotations

__all__: list[str] = []
