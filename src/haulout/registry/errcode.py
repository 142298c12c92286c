"""The error codes of registries (distribution-spec, "Error Codes"): a failed answer becomes the right error."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from haulout import http
from haulout.errors import NotFoundError
from haulout.local import printable

if TYPE_CHECKING:
    from haulout.errors import HauloutError
    from haulout.http import Answer


_MISSING: Final = frozenset({"BLOB_UNKNOWN", "MANIFEST_UNKNOWN", "NAME_UNKNOWN", "NOT_FOUND"})
"""Codes that say what a status hides: there is no such thing."""


def failure(answer: Answer, what: str, host: str, sender: str = "") -> HauloutError:
    """Choose the error for a failed answer; as :func:`haulout.http.failure`, with the registry's codes and messages."""
    if answer.status in {401, 403} and not sender and codes(answer.body) & _MISSING:
        return NotFoundError(f"{what}: not found in {host}")
    login = f"haulout login {host}"
    return http.failure(answer, what, host, sender, details=details(answer.body), login=login)


def details(body: bytes) -> str:
    """Return the codes and messages in a body, fit to be shown; "" where there are none."""
    lines = []
    for entry in _entries(body)[:3]:
        parts = (str(entry[key]) for key in ("code", "message") if isinstance(entry.get(key), str) and entry[key])
        lines.append(": ".join(parts))
    return printable("; ".join(line for line in lines if line))


def codes(body: bytes) -> frozenset[str]:
    """Return the error codes in a body, such as ``NAME_UNKNOWN``."""
    return frozenset(str(entry.get("code"))[:60] for entry in _entries(body))


def _entries(body: bytes) -> list[dict[str, object]]:
    # Tolerant on purpose: this is only ever shown, and registries differ (Quay's token service sends one object).
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return []
    if not isinstance(document, dict):
        return []
    errors = document.get("errors", [document])
    return [entry for entry in errors if isinstance(entry, dict)] if isinstance(errors, list) else []
