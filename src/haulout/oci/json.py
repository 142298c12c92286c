"""Strict JSON: what a registry sends is parsed paranoidly, what we send is compact and stable.

Duplicate keys, floats, NaN, deep nesting and trailing data have all been used to make two readers see two documents;
none of them occurs in a valid manifest.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any, Final, NoReturn

from haulout.errors import InvalidManifest

MAX_DEPTH: Final = 32
"""Deepest nesting accepted; an index with descriptors and annotations needs 5."""

MAX_MANIFEST_BYTES: Final = 4 * 1024 * 1024
"""Largest manifest read or written (distribution-spec: registries SHOULD accept at least 4 MB)."""

_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)


def loads(data: bytes, what: str, *, largest: int = MAX_MANIFEST_BYTES) -> dict[str, Any]:
    """Parse one JSON object, refusing every ambiguity.

    Args:
        data: the bytes as received; never re-serialised, so that digests stay those of the sender.
        what: what the bytes are, for the error.
        largest: bytes accepted.

    Raises:
        InvalidManifest: not UTF-8 JSON, not an object, too large, too deep, duplicate keys, floats or NaN.
    """
    if len(data) > largest:
        raise InvalidManifest(what, f"{len(data)} bytes; at most {largest} are accepted")
    head = data[:256].lstrip().lower()
    if head.startswith((b"<!doctype", b"<html", b"<?xml", b"<")):
        raise InvalidManifest(
            what,
            "it is HTML or XML, not JSON",
            hint="a proxy or login page probably answered in the registry's place; check host name and proxy settings",
        )
    _check_depth(data, what)

    def refuse(kind: str) -> NoReturn:
        raise InvalidManifest(what, kind)

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) != len(items):
            counted = Counter(name for name, _ in items)
            refuse(f"the key {counted.most_common(1)[0][0][:60]!r} occurs twice")
        return found

    try:
        parsed = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=pairs,
            parse_float=lambda text: refuse(f"the number {text[:40]} is not an integer"),
            parse_constant=lambda text: refuse(f"{text} is not a JSON value"),
        )
    except UnicodeDecodeError as exc:
        raise InvalidManifest(what, "it is not UTF-8") from exc
    except ValueError as exc:
        # json.JSONDecodeError, or an integer of more digits than int() takes.
        raise InvalidManifest(what, f"it is not JSON ({exc})") from exc
    if not isinstance(parsed, dict):
        raise InvalidManifest(what, "a JSON object is expected")
    return parsed


def dumps(document: object) -> bytes:
    """Serialise compactly, keys in the order given, as Podman and the Go tools do."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _check_depth(data: bytes, what: str) -> None:
    # Counted before parsing: the parser itself recurses.
    depth = 0
    for byte in _STRING.sub(b"", data).translate(None, _NO_BRACKETS):
        if byte in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise InvalidManifest(what, f"it nests deeper than {MAX_DEPTH} levels")
        elif byte in b"]}":
            depth -= 1
