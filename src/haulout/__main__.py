"""``python -m haulout`` is ``haulout``."""

from __future__ import annotations

import sys

from haulout.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
