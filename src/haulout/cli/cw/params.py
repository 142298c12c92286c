"""Argument types of ``haulout cw``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NoReturn

from haulout.cli.params import StringParam
from haulout.errors import UsageError

if TYPE_CHECKING:
    import click

TEES: Final = ("snp", "tdx", "cca", "sev", "sev_no_es")
KEYS: Final = {
    "type": "tee",
    "attestation_url": "attestation_url",
    "workload_id": "workload_id",
    "cpus": "cpus",
    "memory": "memory",
    "firmware_library": "firmware_library",
    "slop": "slop",
    "passphrase_file": "passphrase_file",
    "passphrase_out": "passphrase_out",
    "ignore_attestation_errors": "ignore_attestation_errors",
}
"""Keys of ``--cw``, and the parameters they stand for."""
_NUMBERS: Final = frozenset({"cpus", "memory"})
_WORKLOAD = re.compile(r"[A-Za-z0-9._~:@+=-]{1,128}")
_YES, _NO = frozenset({"true", "1", "yes"}), frozenset({"false", "0", "no"})


class TeeParam(StringParam):
    """A TEE in mkcw's words, in any case; ``sev_no_es`` is SEV of which the guest's registers stay readable."""

    name = "tee"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ARG002
        """Parse it."""
        text = str(value).strip().lower().replace("-", "_")
        if text not in TEES:
            raise UsageError(f"unknown TEE {str(value)[:40]!r}", hint=f"known: {', '.join(TEES)}")
        return text


class WorkloadParam(StringParam):
    """A workload id, which becomes a part of URLs."""

    name = "workload id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ARG002
        """Check it."""
        text = str(value)
        # As a part of a URL, . and .. name another place.
        if not _WORKLOAD.fullmatch(text) or text in {".", ".."}:
            raise UsageError(
                f"{text[:60]!r} is no workload id", hint="1 to 128 letters, digits and . _ ~ : @ + = - make one"
            )
        return text


class KeyValuesParam(StringParam):
    """``KEY=VALUE,…`` of ``buildah build --cw``; ``-`` and ``_`` are the same in keys."""

    name = "key=value,…"

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,  # noqa: ARG002
        ctx: click.Context | None,  # noqa: ARG002
    ) -> dict[str, Any]:
        """Parse it into parameters of the command."""
        found: dict[str, Any] = {}
        for part in filter(None, str(value).split(",")):
            key, equals, text = part.partition("=")
            key = key.strip().replace("-", "_")
            if key == "passphrase":
                refuse_passphrase("passphrase= in --cw", "passphrase_file=FILE")
            if key not in KEYS or not equals:
                raise UsageError(
                    f"--cw knows no {key[:40]!r}" if key not in KEYS else f"--cw {key} needs a value",
                    hint=f"KEY=VALUE with commas between; keys: {', '.join(KEYS)}",
                )
            if KEYS[key] in found:
                raise UsageError(f"--cw has {key} twice")
            found[KEYS[key]] = _value(key, text)
        return found


def refuse_passphrase(where: str, instead: str) -> NoReturn:
    """Refuse a passphrase on the command line.

    Raises:
        UsageError: always.
    """
    raise UsageError(
        f"{where} would show the passphrase to every process of this machine",
        hint=f"put it into a file and use {instead}, or - for standard input",
    )


def _value(key: str, text: str) -> Any:
    if key == "type":
        return TeeParam().convert(text, None, None)
    if key == "workload_id":
        return WorkloadParam().convert(text, None, None)
    if key in _NUMBERS:
        if not text.isascii() or not text.isdigit() or len(text) > 10 or int(text) < 1:
            raise UsageError(f"--cw {key}={text[:20]} is no number from 1")
        return int(text)
    if key == "ignore_attestation_errors":
        if text.lower() not in _YES | _NO:
            raise UsageError(f"--cw {key}={text[:20]} is neither true nor false")
        return text.lower() in _YES
    return text
