"""docs/json.md is the golden file: its commands are run and must print what the document shows.

Digests, times, and sizes that another version of zstd would change are compared by type alone. Where a change is meant,
``HAULOUT_UPDATE_GOLDEN=1 pytest tests/cli/test_cli_json.py`` writes the document's blocks anew.
"""

from __future__ import annotations

import io
import json
import os
import re
from itertools import pairwise
from typing import Any

import pytest
from tests.cli.test_docs_commands import follow
from tests.support.documents import blocks
from tests.support.sandbox import CREDENTIALS, EXAMPLE_HOSTS, ROOT, sandbox
from tests.support.servers import needs

from haulout.cli.backport import VERBS as BACKPORT
from haulout.cli.progress import JsonLines

DOCUMENT = ROOT / "docs/json.md"
PAIRS = [
    (command, shown)
    for command, shown in pairwise(blocks(DOCUMENT))
    if command.language == "console" and shown.language == "json"
]
VOLATILE = {"mtime", "seconds", "requests", "sent", "received", "fetched", "allocated", "free"}
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_COMMIT = re.compile(r"\b[0-9a-f]{40}\b")
_LONG_HEX = re.compile(r"(?<!sha256:)\b[0-9a-f]{24,}\b")
"""Measurements, chips, fingerprints."""
_UUID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")


def shortened(value: Any, host: str, home: str) -> Any:
    """Return a result as the document shows it: short digests, the example host, no long script."""
    if isinstance(value, dict):
        return {key: shortened(item, host, home) for key, item in value.items()}
    if isinstance(value, list):
        return [shortened(item, host, home) for item in value]
    if isinstance(value, str):
        value = _DIGEST.sub(lambda found: f"{found[0][:15]}…", value).replace(host, EXAMPLE_HOSTS[0])
        value = _COMMIT.sub(lambda found: f"{found[0][:8]}…", value)
        value = _LONG_HEX.sub(lambda found: f"{found[0][:8]}…", value)
        value = value.replace(home, "/home/builder")
        return value if len(value) < 200 else f"{value[:40]}…"
    return value


def comparable(value: Any, path: tuple[str, ...] = ()) -> Any:
    """Replace what differs from machine to machine by its type."""
    if isinstance(value, dict):
        return {key: comparable(item, (*path, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [comparable(item, path) for item in value]
    if isinstance(value, str):
        # An annotation's sized digest has the size behind it; that of the plain disk does not change, a TOC's does.
        value = re.sub(r"sha256:[0-9a-f]{8}…( \d+)?", "sha256:…", value)
        value = re.sub(r"\b[0-9a-f]{8}…", "…", value)
        value = _UUID.sub("a UUID", value)
        return re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "a time", value)
    key, parent = path[-1], path[-2] if len(path) > 1 else ""
    if isinstance(value, int | float) and (key in VOLATILE or (key == "size" and parent not in {"disk", "partitions"})):
        return "a number"
    return value


@pytest.mark.tools
@needs("qemu-img", "docker-registry")
def test_every_verb_prints_the_documented_json(tmp_path):
    told: list[tuple[int, str]] = []
    with sandbox(tmp_path, libraries=True) as place:
        for command, shown in PAIRS:
            out = follow(place, command, "docs/json.md")
            assert out.count("\n") == 1, "one object on one line"
            found = shortened(json.loads(out), place.host or "", place.environment["HOME"])
            told.append((shown.line, json.dumps(found, indent=2, ensure_ascii=False)))
            if not os.environ.get("HAULOUT_UPDATE_GOLDEN"):
                assert comparable(found) == comparable(json.loads(shown.text)), " ".join(command.commands)
    if os.environ.get("HAULOUT_UPDATE_GOLDEN"):
        lines = DOCUMENT.read_text().splitlines()
        for line, text in reversed(told):
            end = lines.index("```", line)
            lines[line:end] = text.splitlines()
        DOCUMENT.write_text("\n".join(lines) + "\n")


def test_every_verb_and_every_member_is_documented():
    text = DOCUMENT.read_text()
    for command, shown in PAIRS:
        for member in json.loads(shown.text):
            assert f"`{member}`" in text, f"{command.commands}: {member}"
    verbs = {json.loads(shown.text).get("verb") for _, shown in PAIRS}
    assert verbs == {
        None,
        "version",
        "push",
        "pull",
        "resolve",
        "inspect",
        "delta",
        "login",
        "logout",
        "completion",
    } | {
        *(f"backport {name}" for name in BACKPORT),
        "evidence verify",
        "evidence emulate",
        "cw build",
        "cw inspect",
        *("cw open", "cw extract", "cw rekey", "cw trustee"),
        *("copy", "tags", "tag", "prune", "find", "cache info", "cache prune", "version"),
        *("update-disk", "sync", "attach", "discover", "fetch", "detach"),
    }


def test_progress_events_have_the_documented_members():
    documented = {}
    for block in blocks(DOCUMENT):
        if block.language == "jsonl":
            for line in block.text.splitlines():
                event = json.loads(line)
                documented[event["event"]] = set(event)
    assert set(documented) == {"begin", "progress", "end", "note", "error"}
    err = io.StringIO()
    with JsonLines(err, clock=lambda: 0.0) as progress:
        with progress.task("x", 2) as task:
            task.advance(1)
            progress.look()
        progress.note("y")
    for line in err.getvalue().splitlines():
        event = json.loads(line)
        assert set(event) == documented[event["event"]]


def test_no_document_shows_the_password():
    assert CREDENTIALS[1] not in DOCUMENT.read_text()
