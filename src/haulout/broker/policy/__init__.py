"""Which guest gets which key: policies of workloads and decisions, pure."""

from __future__ import annotations

__all__: list[str] = []
