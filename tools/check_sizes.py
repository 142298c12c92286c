"""Fail where a module has grown past 400 lines: it has two reasons to change by then."""

import sys
from pathlib import Path

LIMIT = 400

large = [
    (path, lines)
    for path in sorted(Path("src").rglob("*.py"))
    if (lines := len(path.read_text(encoding="utf-8").splitlines())) > LIMIT
]
for path, lines in large:
    print(f"{path}: {lines} lines, more than {LIMIT}", file=sys.stderr)
sys.exit(bool(large))
