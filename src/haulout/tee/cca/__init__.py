"""Arm CCA: its token, whether it is genuine, and what a policy can require of it."""

__all__ = ["keys", "parse"]
