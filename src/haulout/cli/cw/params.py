"""Argument types of ``haulout cw``."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from haulout.cli.params import StringParam
from haulout.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

KEYS: Final = (
    *("type", "attestation_url", "workload_id", "cpus", "memory", "firmware_library", "slop"),
    *("passphrase_file", "passphrase_out", "ignore_attestation_errors"),
)
"""Keys of ``--cw``: the names of parameters, but for ``type``, which is ``tee``."""
_FILES: Final = frozenset({"firmware_library", "passphrase_out"})
_NUMBERS: Final = frozenset({"cpus", "memory"})
_WORKLOAD = re.compile(r"[A-Za-z0-9._~:@+=-]{1,128}")
_YES, _NO = frozenset({"true", "1", "yes"}), frozenset({"false", "0", "no"})


class TeeParam(StringParam):
    """A TEE as mkcw names it, in any case; ``sev_no_es`` is SEV that does not encrypt the guest's registers."""

    name = "tee"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ARG002
        """Parse it."""
        from haulout.workload import Tee  # noqa: PLC0415

        known = (*Tee, "sev_no_es")
        text = str(value).strip().lower().replace("-", "_")
        if text not in known:
            raise UsageError(f"unknown TEE {str(value)[:40]!r}", hint=f"known: {', '.join(known)}")
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
                f"{text[:60]!r} is not a workload id", hint="use 1 to 128 letters, digits and . _ ~ : @ + = -"
            )
        return text


class AddedFileParam(StringParam):
    """``SRC[:DST]``; without DST the file gets the path that it has here."""

    name = "src[:dst]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Path, str]:  # noqa: ARG002
        """Parse it."""
        source, colon, target = str(value).rpartition(":")
        if not colon or not source:
            return Path(value), os.path.abspath(value)  # noqa: PTH100 - a name, not a file
        return Path(source), target


class ForwardParam(StringParam):
    """``HOST:GUEST``: a port of this machine and a port of the guest."""

    name = "host:guest"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:  # noqa: ARG002
        """Parse it."""
        found = re.fullmatch(r"(\d{1,5}):(\d{1,5})", str(value), re.ASCII)
        ports = tuple(map(int, found.groups())) if found else ()
        if len(ports) != 2 or not all(0 < port < 1 << 16 for port in ports):
            raise UsageError(f"{str(value)[:40]!r} is not HOST:GUEST", hint="for example: --publish 8080:80")
        return ports[0], ports[1]


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
                    f"--cw: unknown key {key[:40]!r}" if key not in KEYS else f"--cw: {key} needs a value",
                    hint=f"write KEY=VALUE,…; keys: {', '.join(KEYS)}",
                )
            name = "tee" if key == "type" else key
            if name in found:
                raise UsageError(f"--cw: {key} is given twice")
            found[name] = _value(key, text)
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


def refused(context: click.Context, parameter: click.Parameter, value: Any) -> None:  # noqa: ARG001
    """Refuse ``--passphrase TEXT``; a callback of click."""
    if value is not None and not context.resilient_parsing:
        refuse_passphrase("--passphrase", "--passphrase-file FILE")


no_passphrase = click.option(
    "-p", "--passphrase", metavar="TEXT", hidden=True, expose_value=False, callback=refused, help="Refused."
)


def passphrase(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option that names the passphrase of a disk, which is needed."""
    return click.option(
        "--passphrase-file",
        metavar="FILE",
        required=True,
        type=click.Path(allow_dash=True),
        help="Read the passphrase of the disk from FILE, or - for standard input.",
    )(no_passphrase(function))


def _value(key: str, text: str) -> Any:
    if key == "type":
        return TeeParam().convert(text, None, None)
    if key == "workload_id":
        return WorkloadParam().convert(text, None, None)
    if key in _FILES:
        return Path(text)
    if key in _NUMBERS:
        if not text.isascii() or not text.isdigit() or len(text) > 10 or int(text) < 1:
            raise UsageError(f"--cw: {key} must be a number from 1 (got {text[:20]})")
        return int(text)
    if key == "ignore_attestation_errors":
        if text.lower() not in _YES | _NO:
            raise UsageError(f"--cw: {key} must be true or false (got {text[:20]})")
        return text.lower() in _YES
    return text
