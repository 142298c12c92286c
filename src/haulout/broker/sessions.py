"""What a session of the key broker may do next: pure."""

from __future__ import annotations
