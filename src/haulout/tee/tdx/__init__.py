"""Intel TDX: quotes of version 4 and 5, and Intel's collateral about the platforms that make them."""
