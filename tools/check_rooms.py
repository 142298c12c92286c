"""Fail where a room is entered by anything but its face.

Across rooms only the names of a package's ``__all__`` are imported, never a module inside it and never a private name.
Within a room everything may be imported. ``python tools/check_rooms.py``; prints each breach, exits 1 if there is one.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent / "src"


def modules() -> dict[str, Path]:
    """Return every module of the project by its dotted name."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def room_of(module: str) -> str:
    """Return the room a module is in: the part below the root package."""
    return ".".join(module.split(".")[:2])


def face_of(path: Path) -> set[str]:
    """Return the names in ``__all__``."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


def breaches() -> list[str]:
    """Return one line for each import that does not go through a face."""
    known = modules()
    packages = {name for name, path in known.items() if path.name == "__init__.py"}
    faces = {name: face_of(known[name]) for name in packages}
    found = []
    for module, path in known.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("haulout."):
                continue
            target = node.module or ""
            if room_of(target) == room_of(module):
                continue
            where = f"{path.relative_to(ROOT.parent)}:{node.lineno}"
            for name in (alias.name for alias in node.names):
                if target == room_of(target) and target not in packages:
                    wrong = "a private name" if name.startswith("_") else ""
                elif target not in packages:
                    wrong = "a module inside a room"
                else:
                    wrong = "" if name in faces[target] else f"not in the face of {target}"
                if wrong:
                    found.append(f"{where}: {target}.{name}: {wrong}")
    return found


def main() -> int:
    found = breaches()
    print("\n".join(found), file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
