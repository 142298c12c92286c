"""Parses WWW-Authenticate (RFC 9110 §11.6.1; distribution "token authentication"). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_HEADER: Final = 16 * 1024
"""Characters of one header looked at."""

_TOKEN: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # noqa: S105 - RFC 9110 "token", not a secret
_SCHEME: Final = re.compile(rf"({_TOKEN})(?: +|(?=,|$))")
_PARAMETER: Final = re.compile(rf"({_TOKEN})[ \t]*=[ \t]*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s,\"]*))", re.DOTALL)
_TOKEN68: Final = re.compile(r"[A-Za-z0-9\-._~+/]+=*(?=[ \t]*(?:,|$))")
_SEPARATOR: Final = re.compile(r"[ \t]*(?:,[ \t]*)*")
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Challenge:
    """One scheme that a server offers; ``scheme`` and parameter names in lower case."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def scopes(self) -> frozenset[str]:
        """The scopes a Bearer challenge asks for."""
        return frozenset(self.parameters.get("scope", "").split())

    @property
    def is_insufficient_scope(self) -> bool:
        """Whether the token is valid, but not for this."""
        return self.parameters.get("error", "").lower() == "insufficient_scope"


def parse_challenges(headers: Iterable[str]) -> tuple[Challenge, ...]:
    """Read every challenge of all WWW-Authenticate headers; what does not parse ends its header."""
    return tuple(challenge for header in headers for challenge in _parse(header[:MAX_HEADER]))


def _parse(header: str) -> list[Challenge]:
    found: list[Challenge] = []
    position = _skip(header, 0)
    while position < len(header):
        scheme = _SCHEME.match(header, position)
        if scheme is None:
            break
        parameters: dict[str, str] = {}
        # "Negotiate dG9rZW4=": a token68 in place of parameters; nothing that is answered here.
        blob = _TOKEN68.match(header, scheme.end()) if scheme[0].endswith(" ") else None
        position = _skip(header, blob.end() if blob is not None else scheme.end())
        if blob is None:
            while (parameter := _PARAMETER.match(header, position)) is not None:
                value = _ESCAPE.sub(r"\1", parameter[2]) if parameter[2] is not None else parameter[3]
                parameters.setdefault(parameter[1].lower(), value)
                position = _skip(header, parameter.end())
        found.append(Challenge(scheme[1].lower(), parameters))
    return found


def _skip(header: str, position: int) -> int:
    separator = _SEPARATOR.match(header, position)
    return separator.end() if separator else position
