"""Argument types: text becomes a value once, here, and completes on TAB. Rooms load when a value is parsed."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import click

from haulout.errors import UsageError

if TYPE_CHECKING:
    from haulout import DiskSource
    from haulout.disk import DiskFormat, DiskType
    from haulout.http import RateLimit
    from haulout.oci import Architecture, Reference

    StringParam: TypeAlias = click.ParamType[Any]
else:
    # Generic since click 8.4 only.
    StringParam = click.ParamType


_RATE: Final = re.compile(r"(\d{1,15}(?:\.\d{1,9})?) ?([KMGTkmgt]?)(?:i?B)?(?:/s)?")
_SLOWEST: Final = 1024
_FASTEST: Final = 1024**5


_SMALLEST_PIECE: Final = 64 * 1024
_LARGEST_PIECE: Final = 64 * 1024**2


def _bytes(found: re.Match[str]) -> float:
    return float(found[1]) * 1024.0 ** " KMGT".index(found[2].upper() or " ")


def _matching(names: list[str], incomplete: str) -> list[click.shell_completion.CompletionItem]:
    from click.shell_completion import CompletionItem  # noqa: PLC0415 - only on TAB

    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def spelling(param: click.Parameter | None, ctx: click.Context | None) -> str:
    """Return how the user gave a value: ``--jobs``, or the variable that stands for it."""
    if param is None:
        return "the value"
    if ctx is not None and ctx.get_parameter_source(param.name or "") is click.core.ParameterSource.ENVIRONMENT:
        names = [param.envvar] if isinstance(param.envvar, str) else list(param.envvar or ())
        return next((name for name in names if os.environ.get(name)), param.opts[-1])
    return param.opts[-1]


class NumberParam(StringParam):
    """A number within bounds, which the message of an error names.

    Args:
        least: the smallest.
        most: the largest.
        kind: ``int``, or ``float`` for seconds.
    """

    name = "number"

    def __init__(self, least: int, most: int, kind: type[int | float] = int) -> None:
        self._least = least
        self._most = most
        self._kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse it."""
        try:
            found = self._kind(value)
        except ValueError:
            found = self._kind(-1)
        if not self._least <= found <= self._most:
            raise UsageError(
                f"{spelling(param, ctx)} takes a number from {self._least} to {self._most}, not {str(value)[:80]!r}"
            )
        return found


class RateParam(StringParam):
    """Bytes per second, as curl and wget write them; becomes the limit itself, one for all that share the value."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> RateLimit:
        """Parse it."""
        from haulout.http import RateLimit  # noqa: PLC0415

        found = _RATE.fullmatch(str(value).strip())
        rate = _bytes(found) if found else 0.0
        if not _SLOWEST <= rate <= _FASTEST:
            raise UsageError(
                f"{spelling(param, ctx)} takes bytes per second, 1K or more, not {str(value)[:80]!r}",
                hint="for example 500K, 10M or 1.5G; K, M and G are KiB, MiB and GiB",
            )
        return RateLimit(rate)


class SizeParam(StringParam):
    """A number of bytes, with K, M or G for units of 1024."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Parse it."""
        found = _RATE.fullmatch(str(value).strip())
        size = int(_bytes(found)) if found else 0
        if not _SMALLEST_PIECE <= size <= _LARGEST_PIECE:
            raise UsageError(
                f"{spelling(param, ctx)} takes a size from 64K to 64M, not {str(value)[:80]!r}",
                hint="for example 512K or 8M; K and M are KiB and MiB",
            )
        return size


class ReferenceParam(StringParam):
    """A reference; raises InvalidReference itself, which points at the character."""

    name = "reference"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Reference:  # noqa: ARG002
        """Parse it."""
        from haulout.oci import parse_reference  # noqa: PLC0415

        return parse_reference(str(value))


class BaseParam(StringParam):
    """A reference, or ``none``, which becomes False: click takes None for an option that was not given."""

    name = "base"

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,  # noqa: ARG002
        ctx: click.Context | None,  # noqa: ARG002
    ) -> Reference | Literal[False]:
        """Parse it."""
        from haulout.oci import parse_reference  # noqa: PLC0415

        return False if value == "none" else parse_reference(str(value))


class AnnotationParam(StringParam):
    """``KEY=VALUE``; the value may hold further equals signs."""

    name = "annotation"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:  # noqa: ARG002
        """Split it."""
        if isinstance(value, tuple):
            return value
        key, equals, text = str(value).partition("=")
        if not equals:
            raise UsageError(f"{key[:80]!r} is not an annotation", hint="write KEY=VALUE")
        return key, text


class ArchitectureParam(StringParam):
    """An architecture under either family's name."""

    name = "architecture"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Architecture:  # noqa: ARG002
        """Parse it."""
        from haulout.oci import Architecture  # noqa: PLC0415

        return Architecture.parse(str(value))

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[click.shell_completion.CompletionItem]:
        """Complete both families' names."""
        from haulout.oci import Architecture  # noqa: PLC0415

        return _matching(sorted({name for arch in Architecture for name in (arch.value, arch.go)}), incomplete)


class DiskTypeParam(StringParam):
    """A disk type, or the name of its format."""

    name = "disk type"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> DiskType:  # noqa: ARG002
        """Parse it."""
        from haulout.disk import DiskType  # noqa: PLC0415

        return DiskType.parse(str(value))

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str | None:  # noqa: ARG002
        """Show the types, as ``--help`` is written."""
        from haulout.disk import DiskType  # noqa: PLC0415

        return "|".join(DiskType)

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[click.shell_completion.CompletionItem]:
        """Complete the types' own names."""
        from haulout.disk import DiskType  # noqa: PLC0415

        return _matching(list(DiskType), incomplete)


class WantedTypeParam(DiskTypeParam):
    """A disk type to look for: also that of container disks."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse it."""
        text = str(value).strip().lower()
        return text if text == "container-disk" else super().convert(value, param, ctx)


class DiskTypesParam(DiskTypeParam):
    """Several disk types with commas between them."""

    name = "disk types"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse each."""
        one = super().convert
        return tuple(dict.fromkeys(one(part, param, ctx) for part in str(value).split(",")))

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        """Complete the last one."""
        from click.shell_completion import CompletionItem  # noqa: PLC0415

        before, comma, last = incomplete.rpartition(",")
        found = super().shell_complete(ctx, param, last)
        return [CompletionItem(f"{before}{comma}{item.value}") for item in found]


class FormatParam(StringParam):
    """A format that can be made from another."""

    name = "format"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> DiskFormat:  # noqa: ARG002
        """Parse it."""
        from haulout.disk import convertible_formats  # noqa: PLC0415
        from haulout.errors import InvalidPlatform  # noqa: PLC0415

        for name in convertible_formats():
            if name == str(value).strip().lower():
                return name
        raise InvalidPlatform("format", str(value), convertible_formats())

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:  # noqa: ARG002
        """Show the formats, as ``--help`` is written."""
        from haulout.disk import convertible_formats  # noqa: PLC0415

        return "|".join(convertible_formats())

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[click.shell_completion.CompletionItem]:
        """Complete the names."""
        from haulout.disk import convertible_formats  # noqa: PLC0415

        return _matching(list(convertible_formats()), incomplete)


class DiskSourceParam(StringParam):
    """``ARCH/TYPE=FILE``."""

    name = "disk"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> DiskSource:  # noqa: ARG002
        """Parse it."""
        from pathlib import Path  # noqa: PLC0415

        from haulout import DiskSource  # noqa: PLC0415
        from haulout.disk import DiskType  # noqa: PLC0415
        from haulout.oci import Architecture  # noqa: PLC0415

        kind, equals, path = str(value).partition("=")
        architecture, slash, disk_type = kind.partition("/")
        if not (equals and slash and path):
            raise UsageError(
                f"{str(value)[:200]!r} is not ARCH/TYPE=FILE", hint="for example: --disk x86_64/qemu=machine.qcow2"
            )
        return DiskSource(Path(path), Architecture.parse(architecture), DiskType.parse(disk_type))
