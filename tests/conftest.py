"""What holds for every test."""

from __future__ import annotations

import signal

# Shells start what runs in the background with SIGINT ignored, and children inherit that: what tests interrupt would go on.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
