"""Intel TDX: its quote, Intel's collateral, whether they are genuine, and what a policy can require of them."""

__all__ = ["parse", "pck"]
