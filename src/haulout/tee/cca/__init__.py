"""Arm CCA: its token, whether it is genuine, and what a policy can require of it."""

from haulout.extras import require

require("cbor2")

__all__ = ["keys", "parse"]
