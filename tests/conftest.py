"""What holds for every test."""

from __future__ import annotations

import signal

# Shells start what runs in the background with SIGINT ignored, nohup with SIGHUP, and children inherit that: what tests
# interrupt would go on.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)
