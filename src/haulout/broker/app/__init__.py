"""The HTTPS server: the protocol, the owners' API, and whatever operations plugs in."""

from __future__ import annotations

__all__: list[str] = []
