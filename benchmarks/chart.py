"""A bar chart as SVG: bytes moved by each method."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

WIDTH, LEFT, ROW = 760, 300, 30
OURS, THEIRS, INK, PAPER = "#1f6f8b", "#b8c4cc", "#1c2429", "#ffffff"


def bars(path: Path, title: str, rows: Sequence[tuple[str, float, str, bool]]) -> None:
    """Draw rows of (method, megabytes, remark, whether it is ours) into ``path``."""
    height = 70 + ROW * len(rows)
    longest = max(value for _, value, _, _ in rows)
    scale = (WIDTH - LEFT - 170) / longest
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
            f'font-family="sans-serif" font-size="13" fill="{INK}" role="img">'
        ),
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="{PAPER}"/>',
        f'<text x="16" y="28" font-size="16" font-weight="bold">{escape(title)}</text>',
    ]
    for number, (name, value, remark, ours) in enumerate(rows):
        y = 50 + ROW * number
        weight = ' font-weight="bold"' if ours else ""
        parts += [
            f'<text x="{LEFT - 10}" y="{y + 15}" text-anchor="end"{weight}>{escape(name)}</text>',
            (
                f'<rect x="{LEFT}" y="{y}" width="{max(value * scale, 1):.1f}" height="20" rx="2" '
                f'fill="{OURS if ours else THEIRS}"/>'
            ),
            f'<text x="{LEFT + value * scale + 8:.1f}" y="{y + 15}">{value:.1f} MB{escape(remark)}</text>',
        ]
    parts.append("</svg>\n")
    path.write_text("\n".join(parts))
