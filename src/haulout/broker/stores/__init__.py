"""What a broker remembers: tables in SQLite or PostgreSQL, keys sealed at rest."""

from __future__ import annotations

__all__: list[str] = []
