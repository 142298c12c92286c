"""The tree of verbs. Modules of verbs are imported when their verb is named, which keeps everything else quick."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any, Final

import click

from haulout.cli import options
from haulout.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

VERBS: Final = {
    "push": "haulout.cli.push",
    "pull": "haulout.cli.pull",
    "update-disk": "haulout.cli.update_disk",
    "resolve": "haulout.cli.resolve",
    "inspect": "haulout.cli.inspect",
    "delta": "haulout.cli.delta",
    "machine": "haulout.cli.machine",
    "run": "haulout.cli.run",
    "tags": "haulout.cli.tags",
    "tag": "haulout.cli.tag",
    "delete": "haulout.cli.delete",
    "prune": "haulout.cli.prune",
    "cache": "haulout.cli.cache",
    "copy": "haulout.cli.copy",
    "sync": "haulout.cli.sync",
    "attach": "haulout.cli.attach",
    "discover": "haulout.cli.discover",
    "fetch": "haulout.cli.fetch",
    "detach": "haulout.cli.detach",
    "find": "haulout.cli.find",
    "login": "haulout.cli.login",
    "logout": "haulout.cli.logout",
    "backport": "haulout.cli.backport",
    "evidence": "haulout.cli.evidence",
    "cw": "haulout.cli.cw",
    "broker": "haulout.cli.broker",
    "completion": "haulout.cli.completion",
}
"""Verb and the module whose ``command`` it is, in the order of the help."""


_NARROW: Final = 64
"""Columns below which the text of an option stands under its name, not beside it."""


@dataclass(frozen=True, slots=True)
class Example:
    """A command that runs as it stands, and what it is good for."""

    command: str
    purpose: str


class _Formatter(click.HelpFormatter):
    """Writes help that fits narrow terminals, too."""

    def __init__(self, width: int | None = None, max_width: int | None = None) -> None:
        columns = get_terminal_size().columns
        # click takes 50 columns for the least.
        super().__init__(width=max(min(columns, max_width or 80) - 2, 24) if width is None else width)

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        super().write_dl(rows, min(col_max, 30 if self.width >= _NARROW else 6), col_spacing)


class _Context(click.Context):
    formatter_class = _Formatter


class Verb(click.Command):
    """A command whose help ends with examples."""

    context_class = _Context

    def __init__(self, *args: Any, examples: Sequence[Example] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, with variables of the environment for what the arguments leave out."""
        options.read_environment(ctx)
        return super().parse_args(ctx, args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the examples."""
        write_examples(formatter, self.examples)


class Verbs(click.Group):
    """A group whose verbs are imported when they are named."""

    context_class = _Context

    def __init__(
        self, *args: Any, verbs: Mapping[str, str] | None = None, examples: Sequence[Example] = (), **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.verbs = dict(verbs or {})
        self.examples = tuple(examples)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, with variables of the environment for what the arguments leave out."""
        options.read_environment(ctx)
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Name all verbs."""
        return list(self.verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a verb; None where there is no such verb."""
        module = self.verbs.get(cmd_name)
        return None if module is None else import_module(module).command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb, or say which one may be meant."""
        if args and args[0] not in self.verbs and not args[0].startswith("-") and not ctx.resilient_parsing:
            from difflib import get_close_matches  # noqa: PLC0415 - a misspelling is rare

            from haulout.cli.other_tools import verb_hint  # noqa: PLC0415 - as above

            if hint := verb_hint(args[0], self.verbs):
                raise UsageError(f"no such verb: {args[0][:80]!r}", hint=hint)
            near = get_close_matches(args[0], self.verbs, n=1)
            meant = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(self.verbs)}"
            raise click.UsageError(f"no such verb: {args[0][:80]!r}{meant}", ctx)
        return super().resolve_command(ctx, args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the examples."""
        write_examples(formatter, self.examples)


def write_examples(formatter: click.HelpFormatter, examples: Sequence[Example]) -> None:
    """Write an "Examples" section: the purpose, then the command, which no line break cuts."""
    if not examples:
        return
    with formatter.section("Examples"):
        for number, example in enumerate(examples):
            if number:
                formatter.write_paragraph()
            formatter.write_text(f"{example.purpose}:")
            formatter.write(f"{'':>{formatter.current_indent}}  {example.command}\n")


EXAMPLES: Final = (
    Example("haulout push oci:machines:5.0 disk.qcow2", "publish a disk in an image layout on disk"),
    Example("haulout pull oci:machines:5.0", "fetch the disk for this processor, verified and sparse"),
)


@click.group(
    name="haulout",
    cls=Verbs,
    verbs=VERBS,
    examples=EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="haulout", message="haulout %(version)s")
@options.common
def haulout() -> None:
    """Ship, pull and update bootable machine disks through ordinary OCI registries.

    REF is host/repository:tag, host/repository@sha256:…, oci:DIR:TAG (an OCI image layout on disk) or
    oci-archive:FILE:TAG (one in a tar archive).
    """
