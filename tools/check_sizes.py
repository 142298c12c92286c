"""Fail where a module has grown past 400 lines: it has two reasons to change by then.

A face is a list of names, and has one.
"""

import sys
from pathlib import Path

LIMIT = 400
FACE = 500

large = [
    (path, lines, limit)
    for path in sorted(Path("src").rglob("*.py"))
    if (lines := len(path.read_text(encoding="utf-8").splitlines()))
    > (limit := FACE if path.name == "__init__.py" else LIMIT)
]
for path, lines, limit in large:
    print(f"{path}: {lines} lines, more than {limit}", file=sys.stderr)
sys.exit(bool(large))
