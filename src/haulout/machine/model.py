"""The machine file: what a user wants a machine to be. Pure.

One JSON document per machine, with one schema for every provider (docs/machine.schema.json). It holds intent alone: no
paths of ours, process ids, ports or states, so that it can be copied, and is never out of date.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from haulout.documents import Document
from haulout.errors import UsageError
from haulout.local import Table, parse_json
from haulout.machine.update_settings import Update, parse_update

if TYPE_CHECKING:
    from collections.abc import Callable

    from haulout.local import Wrong


def _with_updates(document: dict[str, Any]) -> dict[str, Any]:
    """Version 2 says how a machine is updated; before, nothing was."""
    return document | {"schema": 2, "update": {}}


MIGRATIONS: Final[tuple[Callable[[dict[str, Any]], dict[str, Any]], ...]] = (_with_updates,)
"""The first makes a document of version 2 from one of version 1, and so on; pure, and never changed once released."""
SCHEMA: Final = 1 + len(MIGRATIONS)
"""Version of the machine file that this version writes, and the newest it reads."""
NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,28}[a-z0-9]")
"""A host name; docker wants at least two characters for a context."""
MOST_CPUS: Final = 256
LEAST_MEMORY: Final = 64
MOST_MEMORY: Final = 1 << 20
MOST_DATA: Final = 1 << 14
_LONGEST_PATH: Final = 4096
_OURS: Final = frozenset({"agent", "control", "qmp"})
"""Names of sockets between a supervisor, its commands and QEMU."""
_PINNED: Final = re.compile(r".+@(sha256:[0-9a-f]{64})")


class Accelerator(StrEnum):
    """What runs the guest's instructions."""

    AUTO = "auto"
    KVM = "kvm"
    HVF = "hvf"
    TCG = "tcg"


class Firmware(StrEnum):
    """What starts the boot loader; ``auto``: UEFI where the disk has an EFI system partition."""

    AUTO = "auto"
    BIOS = "bios"
    UEFI = "uefi"


class Protocol(StrEnum):
    """What a forwarded port speaks."""

    TCP = "tcp"
    UDP = "udp"


class DiskKind(StrEnum):
    """Format of the base image."""

    QCOW2 = "qcow2"
    RAW = "raw"


@dataclass(frozen=True, slots=True)
class Resources:
    """What a machine may use of its host: processors, memory in MiB, and the size of its data disk in GiB."""

    cpus: int = 2
    memory: int = 2048
    disk: int = 100


@dataclass(frozen=True, slots=True)
class Image:
    """Where the system comes from: the reference as given, the same by digest, and the format of its disk."""

    reference: str
    pinned: str
    format: DiskKind

    @property
    def digest(self) -> str:
        """The digest of the disk's manifest, ``sha256:…``."""
        return self.pinned.rpartition("@")[2]

    @property
    def slot(self) -> str:
        """What files of this machine that belong to this image are called: the first digits of its digest."""
        return self.digest.partition(":")[2][:12]


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder of the host in the guest, by virtiofs."""

    source: str
    target: str
    read_only: bool = False

    @classmethod
    def parse(cls, text: str) -> Mount:
        """Read ``SOURCE[:TARGET[:ro]]``; SOURCE is absolute.

        Raises:
            UsageError: it is something else.
        """
        source, _, rest = text.partition(":")
        target, _, options = rest.partition(":")
        if options not in {"", "ro", "rw"} or not source.startswith("/") or not (target or source).startswith("/"):
            raise UsageError(
                f"{text[:200]!r} is not SOURCE[:TARGET[:ro]] with absolute paths",
                hint="for example /home/me/src:/src:ro",
            )
        return cls(source, target or source, options == "ro")


@dataclass(frozen=True, slots=True)
class Forward:
    """A port of the host's loopback address that leads to one of the guest."""

    host: int
    guest: int
    protocol: Protocol = Protocol.TCP

    @classmethod
    def parse(cls, text: str) -> Forward:
        """Read ``HOST:GUEST[/tcp|/udp]``.

        Raises:
            UsageError: it is something else.
        """
        found = re.fullmatch(r"(\d{1,5}):(\d{1,5})(?:/(tcp|udp))?", text, re.ASCII)
        if found is None or not all(0 < int(each) < 1 << 16 for each in found.group(1, 2)):
            raise UsageError(f"{text[:80]!r} is not HOST:GUEST[/udp]", hint="for example 8080:80")
        return cls(int(found[1]), int(found[2]), Protocol(found[3] or "tcp"))


@dataclass(frozen=True, slots=True)
class Socket:
    """A socket of the host that leads to one of the guest, as a user of the guest."""

    name: str
    guest: str
    user: str


SOCKETS: Final = (
    Socket("podman", "/run/user/1000/podman/podman.sock", "core"),
    Socket("podman-root", "/run/podman/podman.sock", "root"),
)


@dataclass(frozen=True, slots=True)
class Machine(Document):
    """One machine file."""

    name: str
    id: str
    """A UUID; it stays when the machine is renamed or moved. The network address is made from it."""
    created: str
    """RFC 3339, UTC."""
    image: Image
    resources: Resources = field(default_factory=Resources)
    accelerator: Accelerator = Accelerator.AUTO
    firmware: Firmware = Firmware.AUTO
    mounts: tuple[Mount, ...] = ()
    forwards: tuple[Forward, ...] = ()
    sockets: tuple[Socket, ...] = SOCKETS
    ca: tuple[str, ...] = ()
    """Certificate authorities the guest trusts, too: paths of PEM files, and ``host`` for those of the host."""
    proxy: str = "host"
    """``host``: as its environment says when the machine starts; ``none``; or a URL without a password."""
    ephemeral: bool = False
    """Whether it is removed, with its data, when the command that made it ends."""
    update: Update = field(default_factory=Update)
    schema: int = SCHEMA
    provider: str = "qemu"

    json_members = (
        *("schema", "name", "id", "created", "provider", "accelerator", "firmware", "image", "resources"),
        *("mounts", "forwards", "sockets", "ca", "proxy", "ephemeral", "update"),
    )

    def to_json(self) -> str:
        """Return the document."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    @property
    def mac(self) -> str:
        """The network card's address: locally administered, another for each machine."""
        digits = self.id.replace("-", "")[:10]
        return ":".join(["52", *(digits[at : at + 2] for at in range(0, 10, 2))])

    def changed(self, **changes: Any) -> Machine:
        """Return it with other resources (``cpus``, ``memory``, ``disk``) or members.

        Raises:
            UsageError: the data disk would shrink.
        """
        resources = {name: changes.pop(name) for name in ("cpus", "memory", "disk") if name in changes}
        made = replace(self, resources=replace(self.resources, **resources), **changes)
        if made.resources.disk < self.resources.disk:
            raise UsageError(
                f"the data disk has {self.resources.disk} GiB, and cannot shrink to {made.resources.disk} GiB",
                hint="it takes no more room than is written to it",
            )
        return made


def valid_name(name: str) -> str:
    """Return the name of a machine, which is a host name, too.

    Raises:
        UsageError: it is not one.
    """
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{name[:80]!r} is not a name for a machine",
            hint="use 2 to 30 lowercase letters, digits and hyphens, beginning and ending with a letter or digit",
        )
    return name


def schema_of(text: bytes) -> int:
    """Return the version of a machine file; :data:`SCHEMA` where it does not say a valid one."""
    with suppress(ValueError, RecursionError):
        found = json.loads(text)
        if isinstance(found, dict) and isinstance(schema := found.get("schema"), int):
            return max(1, schema)
    return SCHEMA


def parse(text: bytes, wrong: Wrong, name: str) -> Machine:
    """Parse a machine file, of this version or an older one.

    Args:
        text: its content.
        wrong: makes the error about a key.
        name: the machine's name, which is that of its folder.

    Raises:
        InvalidFile: it breaks the schema, is of a newer version, or of another machine.
    """
    table = parse_json(text, wrong)
    schema = table.number("schema", None, 1 << 30, 1)
    if schema > SCHEMA:
        raise table.wrong(
            "schema", f"was written by a newer haulout (version {schema} of the file; this one knows {SCHEMA})",
            hint="update haulout; the machine is left as it is",
        )  # fmt: skip
    if schema < SCHEMA:
        try:
            table = Table(migrated(json.loads(text), schema), wrong)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise wrong("", f"is damaged: it is not of version {schema}, as it says") from error
        table.take("schema")
    if (found := table.text("name")) != name:
        raise table.wrong("name", f"is {found!r}, but the folder is {name!r}", hint="rename the folder, or remove it")
    if table.text("provider") != "qemu":
        raise table.wrong("provider", "is not known", hint="known: qemu")
    resources = table.table("resources")
    machine = Machine(
        name=valid_name(found),
        id=_matching(table, "id", re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "a UUID"),
        created=table.text("created"),
        image=parse_image(table.table("image")),
        resources=Resources(
            resources.number("cpus", None, MOST_CPUS, 1),
            resources.number("memory", None, MOST_MEMORY, LEAST_MEMORY),
            resources.number("disk", None, MOST_DATA, 1),
        ),
        accelerator=table.choice("accelerator", Accelerator.AUTO),
        firmware=table.choice("firmware", Firmware.AUTO),
        mounts=tuple(
            _ended(one, Mount(_path(one, "source"), _path(one, "target"), one.flag("read_only", default=False)))
            for one in table.tables("mounts")
        ),
        forwards=tuple(
            _ended(
                one,
                Forward(
                    one.number("host", None, 65535, 1),
                    one.number("guest", None, 65535, 1),
                    one.choice("protocol", Protocol.TCP),
                ),
            )
            for one in table.tables("forwards")
        ),
        sockets=_sockets(table),
        # The first machine files had one, or "".
        ca=table.texts("ca", longest=_LONGEST_PATH) if table.take("ca") else (),
        proxy=table.text("proxy", "host", longest=_LONGEST_PATH),
        ephemeral=table.flag("ephemeral", default=False),
        update=parse_update(table.table("update")),
    )
    resources.end()
    table.end()
    return machine


def migrated(document: dict[str, Any], schema: int) -> dict[str, Any]:
    """Return a document of version ``schema`` as one of today's."""
    for step in MIGRATIONS[schema - 1 :]:
        document = step(document)
    return document


def _ended(table: Table, value: Any) -> Any:
    table.end()
    return value


def parse_image(table: Table) -> Image:
    """Parse an image.

    Raises:
        InvalidFile: a value is wrong, or not known.
    """
    reference = table.line("reference")
    pinned = _matching(table, "pinned", _PINNED, "a reference with a digest")
    return _ended(table, Image(reference, pinned, _kind(table)))  # type: ignore[no-any-return]  # as it came


def _kind(table: Table) -> DiskKind:
    if not table.has("format"):
        raise table.wrong("format", "is missing")
    return table.choice("format", DiskKind.QCOW2)


def _sockets(table: Table) -> tuple[Socket, ...]:
    found = tuple(_socket(one) for one in table.tables("sockets"))
    names = [each.name for each in found]
    if len(set(names)) < len(names) or _OURS.intersection(names):
        raise table.wrong("sockets", f"has a name twice, or one of {', '.join(sorted(_OURS))}")
    return found


def _socket(table: Table) -> Socket:
    name = _matching(table, "name", re.compile(r"(?!to-)[a-z][a-z-]{0,15}"), "lowercase letters and hyphens")
    user = _matching(table, "user", re.compile(r"[a-z_][a-z0-9_-]{0,31}"), "a user name")
    return _ended(table, Socket(name, _path(table, "guest"), user))  # type: ignore[no-any-return]  # as it came


def _path(table: Table, name: str) -> str:
    text = table.line(name)
    if not text.startswith("/") or len(text) > _LONGEST_PATH:
        raise table.wrong(name, "expected an absolute path")
    return text


def _matching(table: Table, name: str, pattern: re.Pattern[str], what: str) -> str:
    text = table.text(name, longest=_LONGEST_PATH)
    if not pattern.fullmatch(text):
        raise table.wrong(name, f"expected {what}")
    return text
