"""What runs inside a confidential guest: evidence goes to the broker, the key comes back, the workload starts."""

from __future__ import annotations

__all__: list[str] = []
