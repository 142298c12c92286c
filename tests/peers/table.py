"""Makes the tables of docs/other-tools.md from a run of every row: ``make peers``, or ``python -m tests.peers.table``."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.peers import copies, reads, writes
from tests.peers.lab import Row, lab
from tests.support.peers import TOOLS, UnavailableError, fetch, ironic_version

if TYPE_CHECKING:
    from collections.abc import Mapping

ROWS: list[Row] = [*reads.ROWS, *copies.ROWS, *writes.ROWS]
DOCUMENT = Path(__file__).parents[2] / "docs/other-tools.md"
BEGIN = "<!-- made by tests/peers: make peers -->"
END = "<!-- end of what tests/peers made -->"
_HEADS = {
    "reads": ("With a tag of Haulout", "command", "gets"),
    "copies": ("After a copy by another tool, a pull from the copy finds", "command", "kept"),
    "writes": ("With disks of other tools", "command", "Haulout"),
}


def render(outcomes: Mapping[str, str], versions: Mapping[str, str]) -> str:
    """The part of the document that the run makes: of each tool its version, of each command what happened."""
    named = ", ".join(f"{tool} {versions[tool]}" for tool in (*TOOLS, "ironic") if tool in versions)
    lines = [BEGIN, "", f"Run with these versions: {named}."]
    for section, (title, *head) in _HEADS.items():
        lines += ["", f"### {title}", "", f"| {' | '.join(head)} |", "|---|---|"]
        lines += [f"| {row.command} | {outcomes[row.command]} |" for row in ROWS if row.section == section]
    return "\n".join([*lines, "", END])


def written(text: str) -> tuple[str, dict[str, str]]:
    """The part of a document that a run made, and the versions of that run."""
    found = re.search(f"{re.escape(BEGIN)}.*?{re.escape(END)}", text, re.DOTALL)
    assert found, f"no lines {BEGIN} and {END}"
    line = re.search(r"^Run with these versions: (.*)\.$", found[0], re.MULTILINE)
    return found[0], dict(item.split(" ", 1) for item in line[1].split(", ")) if line else {}


def main() -> None:
    """Run every row and write what happened into the document; exit 1 where it is not what was to happen."""
    try:
        tools = fetch()
    except UnavailableError as error:
        sys.exit(f"the tools of Debian sid cannot be had here: {error}")
    outcomes = {}
    with tempfile.TemporaryDirectory() as folder, lab(Path(folder) / "lab", tools) as made:
        for row in ROWS:
            outcomes[row.command] = row.does(made)
    text = DOCUMENT.read_text()
    DOCUMENT.write_text(
        text.replace(written(text)[0], render(outcomes, _upstream(tools.versions) | {"ironic": ironic_version()}))
    )
    wrong = [f"{row.command}: {outcomes[row.command]}; expected: {row.outcome}" for row in ROWS if outcomes[row.command] != row.outcome]  # fmt: skip
    sys.exit("\n".join(wrong) if wrong else 0)


def _upstream(versions: Mapping[str, str]) -> dict[str, str]:
    """Versions without what Debian adds."""
    return {tool: re.split(r"[-+]", version)[0] for tool, version in versions.items()}


if __name__ == "__main__":
    main()
