"""Check the walls between rooms, beyond what import-linter can say. Prints each breach; exits 1 if there is one.

* A room is entered through its face: across rooms only names of a package's ``__all__`` are imported, never a module
  inside it, never a private name. Within a room everything may be imported. The face of ``usecases`` is ``haulout``.
* What a room must not know is forbidden by name before the room exists (``MUST_NOT_KNOW``, ``KNOWS_ONLY``), and so is
  whatever reaches the outside from modules that decide (``DECIDE``).
* A use case takes typed values: no parameter of a function in ``usecases`` is a mapping of anything.
"""

from __future__ import annotations

import ast
import re
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(__file__).resolve().parent.parent / "src"

MUST_NOT_KNOW = {
    "machine": {"registry", "frames", "http", "tee", "fetch", "publish"},
    "broker": {"machine", "fetch", "publish", "frames"},
    "trust": {"machine", "broker"},
}
KNOWS_ONLY = {
    "guest": {
        "_face",
        "broker.protocol",
        "documents",
        "errors",
        "extras",
        "http",
        "local",
        "progress",
        "tee",
        "workload.binding",
        "workload.luks",
        "workload.verity",
    },
}
ONLY = {
    "click": ("cli",),
    "rich": ("cli",),
    "urllib3": ("http",),
    "fcntl": ("local",),
    "subprocess": ("local", "backports.git"),
    "tempfile": ("local",),
}
"""Who may import it. The contracts of import-linter list the rooms that may not, and so not the room added tomorrow."""
FACES = {"haulout", "haulout.brokers", "haulout.guests", "haulout.machines"}
"""Modules through which the use cases are entered."""
DECIDE = re.compile(
    r"haulout\.((\w+\.)*policy|broker\.(protocol|sessions|policy|audit)(\.\w+)*|machine\.(model|states|update\.journal)|tee\b.*)"
)
"""Modules that decide and never act."""
ACTS = {"http", "os", "pathlib", "random", "secrets", "socket", "ssl", "subprocess", "tempfile", "time", "urllib3"}


class Import(NamedTuple):
    """One ``from … import …`` or ``import …``."""

    module: str
    """Who imports."""
    target: str
    name: str | None
    """None where a module is imported as such."""
    place: str
    """``file:line``."""


@cache
def parsed(path: Path) -> ast.Module:
    """Parse a module once."""
    return ast.parse(path.read_text(encoding="utf-8"))


def modules(source: Path) -> dict[str, Path]:
    """Return every module by its dotted name."""
    found = {}
    for path in sorted(source.rglob("*.py")):
        parts = path.relative_to(source).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(module: str, path: Path, source: Path) -> Iterator[Import]:
    """Yield the absolute imports of a module, wherever in it they stand."""
    for node in ast.walk(parsed(path)):
        place = f"{path.relative_to(source.parent)}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (Import(module, node.module, alias.name, place) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (Import(module, alias.name, None, place) for alias in node.names)


def room_of(module: str) -> str:
    """Return the room a module is in: the part below the root package; ``python -m haulout`` is the command line."""
    return "haulout.cli" if module == "haulout.__main__" else ".".join(module.split(".")[:2])


def face_of(path: Path) -> set[str]:
    """Return the names in ``__all__``."""
    for node in parsed(path).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


def past_the_face(one: Import, faces: dict[str, set[str]]) -> str | None:
    """Say what is wrong with an import from another room; None: nothing."""
    if not one.target.startswith("haulout.") or room_of(one.target) == room_of(one.module):
        return None
    if one.module in FACES and room_of(one.target) == "haulout.usecases":
        return None
    if one.target in faces:
        return None if one.name in faces[one.target] else f"{one.name} is not in the face of {one.target}"
    if one.target != room_of(one.target):
        return f"{one.target} is a module inside a room"
    return f"{one.name} is private" if (one.name or "").startswith("_") else None


def against_the_list(one: Import) -> str | None:
    """Say which rule for rooms that may not exist yet an import breaks; None: none."""
    room = room_of(one.module).removeprefix("haulout.")
    known = one.target.removeprefix("haulout.") if one.target.startswith("haulout.") else None
    if known is not None and known.split(".")[0] in MUST_NOT_KNOW.get(room, ()):
        return f"{room} must not know {known}"
    allowed = {*KNOWS_ONLY.get(room, ()), room}
    if known and room in KNOWS_ONLY and not any(f"{known}.".startswith(f"{each}.") for each in allowed):
        return f"{room} knows only {', '.join(sorted(KNOWS_ONLY[room]))}"
    if known is None and DECIDE.fullmatch(one.module) and one.target.split(".")[0] in ACTS:
        return f"it decides, and must not import {one.target}"
    importers = ONLY.get(one.target.split(".")[0])
    if importers and not any(f"{one.module}.".startswith(f"haulout.{each}.") for each in importers):
        return f"only {', '.join(importers)} imports {one.target.split('.')[0]}"
    return None


def untyped_requests(path: Path, source: Path) -> Iterator[str]:
    """Yield the parameters of a module's functions that are mappings of anything."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs):
                written = ast.unparse(argument.annotation) if argument.annotation else ""
                if re.search(r"\b(Mapping|dict|Dict)\[str, (Any|object)\]", written):
                    yield f"{path.relative_to(source.parent)}:{node.lineno}: {argument.arg} of {node.name} is not typed"


def breaches(source: Path = SOURCE) -> list[str]:
    """Return one line for each breach."""
    known = modules(source)
    faces = {name: face_of(path) for name, path in known.items() if path.name == "__init__.py"}
    found = []
    for module, path in known.items():
        for one in imports(module, path, source):
            wrong = past_the_face(one, faces) or against_the_list(one)
            if wrong:
                found.append(f"{one.place}: {wrong}")
        if room_of(module) == "haulout.usecases":
            found += untyped_requests(path, source)
    return found


def main() -> int:
    found = breaches()
    print("\n".join(found), file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
