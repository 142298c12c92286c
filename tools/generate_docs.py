"""Write what is generated in docs/: manual pages from the command tree, exit codes from the error classes.

Run it as ``python tools/generate_docs.py``; with ``--check`` it writes nothing and exits 1 where something is stale.
"""

from __future__ import annotations

import sys
from pathlib import Path

from haulout.cli.manual import exit_codes, pages
from haulout.errors import HauloutError

DOCS = Path(__file__).resolve().parent.parent / "docs"


def documents() -> dict[Path, str]:
    """Return every generated file and its text."""
    found = {DOCS / "man" / name: text for name, text in pages().items()}
    found[DOCS / "exit-codes.md"] = exit_codes_page()
    return found


def exit_codes_page() -> str:
    """Return docs/exit-codes.md."""
    lines = [
        "# Exit codes",
        "",
        "Stable: scripts may rely on them. Made from the error classes by `python tools/generate_docs.py`.",
        "",
        "| code | meaning | `kind` in JSON |",
        "|---|---|---|",
    ]
    kinds = {str(kind.exit_code): kind for kind in HauloutError.__subclasses__()}
    for code, text in exit_codes():
        kind = kinds.get(code)
        names = [kind.__name__, *(below.__name__ for below in kind.__subclasses__())] if kind else []
        if code == "70":
            names = ["InternalError"]
        elif code == "128+N":
            names = ["Interrupted"]
        lines.append(f"| {code} | {text} | {', '.join(f'`{name}`' for name in names)} |")
    lines += [
        "",
        "An error is one line on standard error, `haulout: …`; the way out is a second one, `  hint: …`, where there",
        "is one. With `--json` the same goes to standard output as an object: see [json.md](json.md).",
        "",
        "A file system that is full, read-only or closed to you counts as `StorageError`, whichever call met it.",
        "A reader that goes away (`haulout … | head -1`) ends haulout quietly with 141 (128 + SIGPIPE).",
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    stale = 0
    man = DOCS / "man"
    wanted = documents()
    for leftover in set(man.glob("*.1")) - set(wanted):
        stale += 1
        print(f"no longer generated: {leftover}", file=sys.stderr)
        if "--check" not in sys.argv:
            leftover.unlink()
    for path, text in wanted.items():
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale += 1
        print(f"{'stale' if '--check' in sys.argv else 'wrote'}: {path.relative_to(DOCS.parent)}", file=sys.stderr)
        if "--check" not in sys.argv:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
