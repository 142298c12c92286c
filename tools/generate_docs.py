"""Write what is generated in docs/: manual pages and completion from the command tree, exit codes from the errors.

Run it as ``python -m tools.generate_docs``; with ``--check`` it writes nothing and exits 1 where something is stale.
"""

from __future__ import annotations

import inspect
import pkgutil
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from tools.draw_rooms import svg

import haulout
from haulout.cli.completion import script
from haulout.cli.manual import exit_codes, pages
from haulout.errors import HauloutError

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).resolve().parent.parent / "docs"
COMPLETIONS = {"bash": "haulout.bash", "zsh": "_haulout", "fish": "haulout.fish"}
"""Shell and file; installed with the package (pyproject.toml)."""


def documents() -> dict[Path, str]:
    """Return every generated file and its text."""
    found = {DOCS / "man" / name: text for name, text in pages().items()}
    found[DOCS / "exit-codes.md"] = exit_codes_page()
    found[DOCS / "architecture.svg"] = svg()
    found |= {DOCS / "completion" / name: f"{script(shell)}\n" for shell, name in COMPLETIONS.items()}
    return found


def exit_codes_page() -> str:
    """Return docs/exit-codes.md."""
    load_every_room()
    roots = {str(kind.exit_code): kind for kind in HauloutError.__subclasses__()}
    others = {"70": "`InternalError`", "128+N": "`Interrupted`"}
    lines = [
        "# Exit codes and errors",
        "",
        "Stable: scripts may rely on them. Generated from the error classes by `make docs`.",
        "",
        "| code | meaning | `kind` in JSON |",
        "|---|---|---|",
    ]
    for code, text in exit_codes():
        kinds = ", ".join(f"`{kind.__name__}`" for kind in family(roots[code])) if code in roots else ""
        lines.append(f"| {code} | {text} | {others.get(code, kinds)} |")
    lines += [
        "",
        "An error is one line on standard error, `haulout: …`; a second line, `  hint: …`, names the way out, where",
        "there is one. With `--json`, standard output has the same as an object: see [json.md](json.md).",
        "",
        "A file system that is full, read-only or closed to you is a `StorageError`, whichever call met it.",
        "When the reader of a pipe goes away (`haulout … | head -1`), haulout exits with 141 (128 + SIGPIPE), silent.",
        "",
        "## The error classes",
        "",
        "What the library raises, all of them exported by `haulout`:",
        "",
        "```text",
        *tree(HauloutError),
        "```",
    ]
    return "\n".join(lines) + "\n"


def load_every_room() -> None:
    """Import every module of haulout, so that each error class exists."""
    for module in pkgutil.walk_packages(haulout.__path__, "haulout."):
        if not module.name.endswith("__main__"):
            import_module(module.name)


def below(kind: type[HauloutError]) -> list[type[HauloutError]]:
    """Return the classes derived from one, in the order of the modules and lines that define them."""
    public = (one for one in kind.__subclasses__() if not one.__name__.startswith("_"))
    return sorted(public, key=lambda one: (one.__module__, inspect.getsourcelines(one)[1]))


def family(kind: type[HauloutError]) -> list[type[HauloutError]]:
    """Return a class and all that derive from it."""
    return [kind, *(each for child in below(kind) for each in family(child))]


def tree(kind: type[HauloutError], prefix: str = "", branch: str = "") -> Iterator[str]:
    """Draw a class and all that derive from it: name, exit code where it is a new one, first line of the docstring."""
    label = f"{prefix}{branch}{kind.__name__}"
    code = str(kind.exit_code) if "exit_code" in vars(kind) else ""
    yield f"{label:<32}{code:>3}  {(kind.__doc__ or '').strip().splitlines()[0].split('; ``')[0].rstrip('.')}"
    children = below(kind)
    inner = prefix + {"": "", "├── ": "│   ", "└── ": "    "}[branch]
    for child in children:
        yield from tree(child, inner, "└── " if child is children[-1] else "├── ")


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
