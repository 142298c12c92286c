"""The messages of the key broker service protocol 0.4.0: pure functions of bytes; brokers and guests share them."""

from __future__ import annotations

__all__: list[str] = []
