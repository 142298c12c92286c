"""Turns a failed answer into one line and the right error (distribution-spec, "Error Codes")."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from haulout.errors import DeniedError, HauloutError, NotFoundError, RegistryError
from haulout.http.retry import parse_retry_after

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_BODY: Final = 1024 * 1024
"""Bytes of an error body read."""
_MAX_SHOWN: Final = 300


@dataclass(frozen=True, slots=True)
class Answer:
    """A failed answer as received."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def is_web_page(self) -> bool:
        """Whether a person's page came in place of the protocol."""
        return is_web_page(self.headers.get("content-type", ""))


def is_web_page(content_type: str) -> bool:
    """Whether a Content-Type is a web page's: a proxy or a login form answered."""
    return content_type.partition(";")[0].strip().lower() in {"text/html", "application/xhtml+xml"}


def describe(answer: Answer) -> str:
    """Say in one line what went wrong; the server's own words where it has any."""
    details = _details(answer.body)
    try:
        phrase = f"{answer.status} {HTTPStatus(answer.status).phrase}"
    except ValueError:
        phrase = str(answer.status)
    if answer.is_web_page:
        return f"{phrase} (a web page, not a registry's answer)"
    return f"{phrase} ({details})" if details else phrase


def codes(body: bytes) -> frozenset[str]:
    """The error codes in a body, such as ``NAME_UNKNOWN``."""
    return frozenset(str(entry.get("code"))[:60] for entry in _entries(body))


def failure(answer: Answer, what: str, host: str) -> HauloutError:
    """Choose the error for an answer.

    Args:
        answer: status, headers and body.
        what: what was asked, to begin the line with.
        host: the registry as the user spells it.
    """
    text = f"{what}: {host} answers {describe(answer)}"
    if answer.status in {401, 403}:
        return DeniedError(text, hint=f"haulout login {host}")
    if answer.status == 404:
        hint = "a proxy may have answered in its place; is this a registry?" if answer.is_web_page else None
        return NotFoundError(f"{what}: not found in {host}" if hint is None else text, hint=hint)
    if answer.status == 429:
        wait = parse_retry_after(answer.headers.get("retry-after"))
        when = f"; it asks to wait {wait:.0f} s" if wait else ""
        return RegistryError(f"{text}{when}", status=429, hint="it limits how much one client may ask; try again later")
    hint = "a proxy or login page answered in the registry's place" if answer.is_web_page else None
    return RegistryError(text, status=answer.status, hint=hint)


def _details(body: bytes) -> str:
    lines = []
    for entry in _entries(body)[:3]:
        parts = (str(entry[key]) for key in ("code", "message") if isinstance(entry.get(key), str) and entry[key])
        lines.append(": ".join(parts))
    text = "; ".join(line for line in lines if line)
    return "".join(character if character.isprintable() else " " for character in text)[:_MAX_SHOWN]


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
