"""What the verbs of machines share."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from haulout.cli.params import NumberParam, StringParam
from haulout.cli.terminal import size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from haulout.machines import MachineStatus, Resources

Function = TypeVar("Function", bound="Callable[..., Any]")

LONGEST_WAIT: Final = 86400


class NameParam(StringParam):
    """The name of a machine, which TAB completes."""

    name = "machine"

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[click.shell_completion.CompletionItem]:
        """Complete the names there are."""
        from click.shell_completion import CompletionItem  # noqa: PLC0415 - only on TAB

        from haulout.machine import Machines  # noqa: PLC0415

        return [CompletionItem(each.name) for each in Machines.here().all() if each.name.startswith(incomplete)]


class SideParam(NameParam):
    """A file of this host, or ``NAME:PATH``."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        """Complete machines, and files of this host."""
        from click.shell_completion import CompletionItem  # noqa: PLC0415 - only on TAB

        names = super().shell_complete(ctx, param, incomplete)
        return [*(CompletionItem(f"{each.value}:") for each in names), CompletionItem(incomplete, type="file")]


class MountParam(StringParam):
    """``SOURCE[:TARGET[:ro]]``; None: ``none``."""

    name = "mount"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ARG002
        """Parse it; a relative source is one of the current folder."""
        from pathlib import Path  # noqa: PLC0415

        from haulout.machine import Mount  # noqa: PLC0415

        if value == "none":
            return None
        source, colon, rest = str(value).partition(":")
        return Mount.parse(f"{Path(source).absolute()}{colon}{rest}" if source else str(value))


class ForwardParam(StringParam):
    """``HOST:GUEST[/udp]``; None: ``none``."""

    name = "ports"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ARG002
        """Parse it."""
        from haulout.machine import Forward  # noqa: PLC0415

        return None if value == "none" else Forward.parse(str(value))


class AmountParam(NumberParam):
    """A number of MiB or GiB, which may also have a unit: ``4G``, ``512MiB``."""

    def __init__(self, least: int, most: int, unit: str) -> None:
        super().__init__(least, most)
        self._unit = unit

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse it."""
        if found := re.fullmatch(r"(\d{1,9})([MGT])(i?B)?", str(value), re.ASCII | re.IGNORECASE):
            amount = int(found[1]) * 1024.0 ** ("MGT".index(found[2].upper()) - "MGT".index(self._unit))
            value = int(amount) if amount.is_integer() else value
        return super().convert(value, param, ctx)


def _named(_context: click.Context, _option: click.Parameter, values: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """Return what an option names, which may be nothing; None: it is not given."""
    return tuple(each for each in values if each is not None) if values else None


def name(function: Function) -> Function:
    """Add the argument NAME."""
    return click.argument("name", metavar="NAME", type=NameParam())(function)


def resources(function: Function) -> Function:
    """Add the options that say what a machine may use of its host."""
    for option in reversed(
        (
            click.option("--cpus", type=NumberParam(1, 256), metavar="N", help="Number of processors."),
            click.option(
                "--memory", type=AmountParam(64, 1 << 20, "M"), metavar="MIB", help="Memory in MiB, or such as 4G."
            ),
            click.option(
                "--disk", type=AmountParam(1, 1 << 14, "G"), metavar="GIB", help="Size of the data disk in GiB."
            ),
            click.option(
                "--mount",
                "mounts",
                type=MountParam(),
                metavar="SOURCE[:TARGET[:ro]]|none",
                multiple=True,
                callback=_named,
                help="Mount a directory of this host in the machine; may be given several times.",
            ),
            click.option(
                "-p",
                "--publish",
                "forwards",
                type=ForwardParam(),
                metavar="HOST:GUEST[/udp]|none",
                multiple=True,
                callback=_named,
                help="Forward a port of this host's loopback address; may be given several times.",
            ),
            click.option(
                "--ca",
                metavar="host|FILE|none",
                multiple=True,
                help="Let the machine trust this host's CA certificates, or those in FILE; may be given several times.",
            ),
            click.option(
                "--proxy",
                metavar="host|URL|none",
                help="Proxy of the machine; host: the one in the environment when it starts.  [default: host]",
            ),
        )
    ):
        function = option(function)
    return function


def user(function: Function) -> Function:
    """Add ``--user``."""
    return click.option("--user", default="core", metavar="USER", help="User of the machine.  [default: core]")(
        function
    )


def stop_timeout(function: Function) -> Function:
    """Add ``--wait``, the time a guest has to shut down."""
    kind = NumberParam(0, LONGEST_WAIT, float)
    text = "Time the machine has to shut down before it is switched off.  [default: 90]"
    return click.option("--wait", "seconds", type=kind, default=90.0, metavar="SECONDS", help=text)(function)


def lines(status: MachineStatus) -> Iterator[str]:
    """Write how a machine is, for people."""
    yield f"{status.name} is {status.state}" + (f": {status.problem}" if status.problem else "")
    if status.ended:
        yield f"  ended: {status.ended}"
    if status.waiting_for:
        yield f"  {status.waiting_for}"
    for lost in status.lost:
        yield f"  {lost}; restart it: haulout machine restart {status.name}"
    for each in status.sockets:
        if each.answers:
            yield f"  {each.connection}: unix://{each.path}"
    if status.machine is not None:
        yield f"  {amounts(status.machine.resources)}"
        yield f"  from {status.machine.image.pinned}"
    if status.disk_missing:
        waits = f"; it waits for them: {status.disk_waits_for}" if status.disk_waits_for else ""
        yield f"  {size(status.disk_missing)} of its disk are not here yet{waits}"
    if status.update is not None or status.update_problem:
        yield f"  update: {update(status)}"
    if status.autostart:
        yield "  starts when you log in"


def update(status: MachineStatus) -> str:
    """Say how a machine's last update is."""
    if status.update is None:
        return f"its journal cannot be used: {status.update_problem}"
    reason = f": {status.update.reason}" if status.update.reason else ""
    match status.update.step:
        case "committed":
            return f"done at {status.update.at}; machine rollback leads back to {status.update.old.pinned}"
        case "undone":
            return f"undone at {status.update.at}, {status.update.new.pinned}{reason}"
        case "staged":
            return f"{status.update.new.pinned} is here; haulout machine update {status.name} switches to it"
        case step:
            return f"{step} {status.update.new.pinned}"


def amounts(wanted: Resources) -> str:
    """Say what a machine may use of its host."""
    cpus = f"{wanted.cpus} CPU{'s' * (wanted.cpus != 1)}"
    return f"{cpus}, {size(wanted.memory << 20)} of memory, a data disk of {wanted.disk} GiB"


def remark(status: MachineStatus) -> str:
    """Say the one thing to know about a machine, in a list, with the system it has, and how its last update is."""
    disk = f"it waits for its disk: {status.disk_waits_for}" if status.disk_waits_for else ""
    return "; ".join(part for part in (disk, _most_urgent(status), _system(status), _updating(status)) if part)


def _most_urgent(status: MachineStatus) -> str:
    if status.problem or status.ended or status.waiting_for:
        return status.problem or status.ended or status.waiting_for or ""
    if status.disk_missing:
        return f"{size(status.disk_missing)} of its disk are not here yet"
    if status.state == "degraded":
        missing = [each.name for each in status.sockets if not each.answers]
        return "; ".join([*status.lost, *([f"it has no {', '.join(missing)}"] if missing else [])])
    return ""


def _system(status: MachineStatus) -> str:
    # A tag is moved from one version to the next: the digest tells them apart.
    image = None if status.machine is None else status.machine.image
    return "" if image is None else f"{image.reference.partition('@')[0]} ({image.slot})"


def _updating(status: MachineStatus) -> str:
    update = status.update
    match None if update is None else update.step:
        case None | "committed" | "staging":
            return ""
        case "staged":
            return "an update is staged"
        case "undone":
            what = "an update" if update is None or update.kind == "update" else "a rollback"
            return f"{what} was undone: {update.reason}" if update is not None else ""
        case step:
            return f"updating: {step}"
