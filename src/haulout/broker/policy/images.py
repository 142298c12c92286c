"""Images that a key may go to: what a guest that booted one of them has in its evidence, and its epoch. Pure.

These are reference values (RFC 9334, section 8.3). They stand in a policy, or in a signed list beside an image.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from haulout.errors import InvalidWorkload
from haulout.local import Table
from haulout.tee import KINDS, read_section
from haulout.workload.binding import Binding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from haulout.local import Wrong

MOST: Final = 1000
"""Images of one document."""
MOST_EPOCH: Final = (1 << 53) - 1
_LONGEST_BINDING: Final = 16384


@dataclass(frozen=True, slots=True)
class Naming:
    """How a kind of TEE names a workload.

    Attributes:
        binding: the key of a policy's section that lists bindings.
        attributes: those of :class:`~haulout.workload.binding.Binding` that have the value, one for each size.
        measured: keys that list measurements.
        demanded: groups of them; without one of each group it is not known what booted.
    """

    binding: str
    attributes: tuple[str, ...]
    measured: tuple[str, ...]
    demanded: tuple[tuple[str, ...], ...]


_PCRS: Final = tuple(f"pcr{number}" for number in range(16))
NAMING: Final = {
    "snp": Naming("host-data", ("host_data",), ("measurements",), (("measurements",),)),
    # RTMR1 and RTMR2: boot loader, kernel, command line and initrd; MRTD is the firmware alone.
    "tdx": Naming(
        "mrconfigid",
        ("mrconfigid",),
        ("mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3"),
        (("mrtd",), ("rtmr1",), ("rtmr2",)),
    ),
    "cca": Naming("personalization", ("personalization",), ("rim", "rem0", "rem1", "rem2", "rem3"), (("rim",),)),
    # PCR 4: boot loader, or kernel; then initrd and command line: PCR 9, or 11 where they are one file with the kernel.
    # The binding is worth what is known of the initrd that extended it.
    "tpm": Naming("workload", ("host_data", "mrconfigid", "personalization"), _PCRS, (("pcr4",), ("pcr9", "pcr11"))),
}
"""By the kind's name. A kind that is not here cannot have keys released to it: its evidence names no workload."""

_KINDS: Final = {kind.name: kind for kind in KINDS}


@dataclass(frozen=True, slots=True)
class Image:
    """One image.

    Attributes:
        name: for people, such as a version.
        epoch: grows when images before it must get no key any more.
        bound: by kind of TEE, the key of its section and the value that its evidence has to carry.
        measured: by kind of TEE, what is measured: lists in hexadecimal by the section's keys.
    """

    name: str
    epoch: int
    bound: Mapping[str, Mapping[str, list[str]]] = field(default_factory=dict)
    measured: Mapping[str, Mapping[str, list[str]]] = field(default_factory=dict)

    @property
    def order(self) -> tuple[int, str, str]:
        """Sort by it: the newest first, and the same however they were listed."""
        return (-self.epoch, self.name, repr(sorted((kind, sorted(each.items())) for kind, each in self.bound.items())))


def read_images(top: Table, name: str = "images") -> tuple[Image, ...]:
    """Read an array of images.

    Raises:
        InvalidPolicy: or what the table raises: a key is unknown or missing, or has an impossible value.
    """
    tables = top.tables(name)
    if len(tables) > MOST:
        raise top.wrong(name, f"has more than {MOST} entries")
    return tuple(_read(one) for one in tables)


def _read(table: Table) -> Image:
    bound: dict[str, dict[str, list[str]]] = {}
    measured: dict[str, dict[str, list[str]]] = {}
    binding = _binding(table)
    for kind, naming in NAMING.items():
        if binding is not None:
            bound[kind] = {naming.binding: [getattr(binding, name).hex() for name in naming.attributes]}
        if not table.has(kind):
            continue
        inner = table.table(kind)
        measured[kind] = {key: list(inner.listed(key) or ()) for key in naming.measured if inner.has(key)}
        if binding is None and inner.has(naming.binding):
            bound[kind] = {naming.binding: list(inner.listed(naming.binding) or ())}
        inner.end()
    if not bound:
        raise table.wrong("binding", "is missing", hint="it is what haulout-binding.json of the image holds")
    image = Image(table.text("name", ""), table.number("epoch", None, MOST_EPOCH), bound, measured)
    table.end()
    return image


def _binding(table: Table) -> Binding | None:
    if not table.has("binding"):
        return None
    text = table.text("binding", longest=_LONGEST_BINDING)
    try:
        return Binding.parse(text.encode(), "the binding")
    except InvalidWorkload as exc:
        raise table.wrong("binding", str(exc)) from exc


@dataclass(frozen=True, slots=True)
class Known:
    """An image beside what a policy demands of evidence: sections that demand both."""

    image: Image
    bound: Mapping[str, Any]
    whole: Mapping[str, Any]


def combine(image: Image, sections: Mapping[str, Mapping[str, Any]], wrong: Wrong, where: str) -> Known:
    """Add an image to the sections of a policy.

    Args:
        image: the image.
        sections: the policy's, as they were parsed, by kind of TEE.
        wrong: makes errors.
        where: place of the image in its document.

    Raises:
        InvalidPolicy: a value is not of the length that its TEE has.
    """
    bound, whole = {}, {}
    for kind, values in sections.items():
        own = image.bound.get(kind)
        if own is None:
            continue
        measured = image.measured.get(kind, {})
        place = f"{where}.{kind}"
        bound[kind] = read_section(Table({**values, **own}, wrong, place), _KINDS[kind])
        whole[kind] = read_section(Table({**values, **own, **measured}, wrong, place), _KINDS[kind])
    return Known(image, bound, whole)
