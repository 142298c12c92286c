"""Draw the rooms of the house and the arrows between them, from the imports themselves: docs/architecture.svg.

Rows are the layers of the contract in pyproject.toml. An arrow means "imports"; one that follows from others (A → B → C
makes A → C superfluous) is left out.
"""

from __future__ import annotations

import tomllib
from html import escape
from typing import TYPE_CHECKING, NamedTuple

from tools.check_rooms import SOURCE, imports, modules, room_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PROJECT = SOURCE.parent / "pyproject.toml"
WIDTH, ROW, BOX, HEIGHT, MARGIN = 880, 82, 112, 42, 24
COLUMN = {
    "cli": 3, "emulator": 0, "usecases": 3, "publish": 1.6, "fetch": 3, "upkeep": 4.1, "workload": 5.2,
    "backports": 6.3,
    "places": 1.2, "resolve": 3, "registry": 1.2, "frames": 3, "rootfs": 4.5, "content": 2, "disk": 4, "tee": 0,
    "http": 1.2, "oci": 2.4, "local": 3.4,
}  # fmt: skip
"""Where in its row a room stands, so that no arrow crosses a box; another is placed by its number in the row."""
HIDDEN = {"__main__", "_face"}
"""No rooms: the entry of ``python -m``, and how faces are made."""
BASEMENT = {"errors", "progress", "documents", "extras"}
"""Imported by nearly every room; their arrows would hide the others."""


class Room(NamedTuple):
    """A box."""

    name: str
    x: float
    y: float


def layers() -> list[list[str]]:
    """Return the rooms of each layer, from the top."""
    contracts = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    written = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    named = [[name.strip() for name in row.replace(":", "|").split("|")] for row in written]
    kept = [[name for name in row if name not in HIDDEN] for row in named]
    rows = [row for row in kept if not set(row) <= BASEMENT]
    return [*(row for row in rows if row), [name for row in kept for name in row if name in BASEMENT]]


def arrows() -> dict[str, set[str]]:
    """Return which rooms each room imports."""
    found: dict[str, set[str]] = {}
    for module, path in modules(SOURCE).items():
        room = room_of(module).removeprefix("haulout.")
        for one in imports(module, path, SOURCE):
            target = room_of(one.target).removeprefix("haulout.")
            if one.target.startswith("haulout.") and target != room:
                found.setdefault(room, set()).add(target)
    return {room: {each for each in targets if each not in HIDDEN} for room, targets in found.items()}


def reduced(graph: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Leave out every arrow that follows from others."""

    def reach(room: str) -> set[str]:
        below = graph.get(room, set())
        return below.union(*(reach(each) for each in below))

    return {
        room: {each for each in targets if not any(each in reach(other) for other in targets if other != each)}
        for room, targets in graph.items()
    }


def placed() -> dict[str, Room]:
    """Place the rooms, row by row."""
    found = {}
    for number, row in enumerate(layers()):
        for place, name in enumerate(row):
            x = MARGIN + (WIDTH - 2 * MARGIN - BOX) * COLUMN.get(name, 2 * place) / 6
            found[name] = Room(name, x, MARGIN + number * ROW)
    return found


def svg() -> str:
    """Return the picture."""
    rooms = placed()
    height = max(room.y for room in rooms.values()) + HEIGHT + MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" font-family="sans-serif">',
        "<title>The rooms of Haulout; arrows point to what a room imports</title>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">',
        '<path d="M0 0L8 4L0 8z" fill="#5b6b7a"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{height:.0f}" fill="#ffffff"/>',
        *_lines(rooms),
        *_boxes(rooms),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _lines(rooms: Mapping[str, Room]) -> Iterator[str]:
    graph = {room: targets - BASEMENT for room, targets in arrows().items() if room not in BASEMENT}
    for name, targets in sorted(reduced(graph).items()):
        for target in sorted(targets):
            if name in rooms and target in rooms:
                above, below = rooms[name], rooms[target]
                x1, y1 = above.x + BOX / 2, above.y + HEIGHT
                x2, y2 = below.x + BOX / 2, below.y
                bend = (y2 - y1) / 2
                yield (
                    f'<path d="M{x1:.0f} {y1:.0f}C{x1:.0f} {y1 + bend:.0f} {x2:.0f} {y2 - bend:.0f} {x2:.0f} {y2:.0f}" '
                    'fill="none" stroke="#5b6b7a" stroke-width="1.2" marker-end="url(#tip)"/>'
                )


def _boxes(rooms: Mapping[str, Room]) -> Iterator[str]:
    for room in rooms.values():
        fill = "#eef1f4" if room.name in BASEMENT else "#dcebf7"
        yield (
            f'<rect x="{room.x:.0f}" y="{room.y:.0f}" width="{BOX}" height="{HEIGHT}" rx="7" fill="{fill}" '
            'stroke="#2f4858"/>'
        )
        middle = room.x + BOX / 2
        yield (
            f'<text x="{middle:.0f}" y="{room.y + 26:.0f}" text-anchor="middle" font-size="14" fill="#16232d">'
            f"{escape(room.name)}</text>"
        )
