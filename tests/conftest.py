"""What holds for every test."""

from __future__ import annotations

import os
import signal

# Shells start what runs in the background with SIGINT ignored, nohup with SIGHUP, and children inherit that: what tests
# interrupt would go on.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)

# As for users of an installed program: without compiled modules, each of the hundreds of programs started here would
# compile them anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
