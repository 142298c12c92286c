"""Run a confidential image in a virtual machine with an emulated TEE, or say how real hardware runs it."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlsplit

from haulout.documents import Document
from haulout.errors import ToolError, UsageError
from haulout.guest import Launch, read_guest
from haulout.guest import arguments as lines
from haulout.http import is_loopback
from haulout.local import PIPE, last_line, private_folder, replace_file, started, storage_errors, wait_until
from haulout.machine import Machines
from haulout.machine.qemu import qemu_here
from haulout.places import open_store
from haulout.progress import NullProgress
from haulout.registry import ConnectionOptions
from haulout.usecases.arguments import reference_of
from haulout.usecases.guest_ports import FATAL, Ports, follow
from haulout.workload import Image, check_url, unpack_disk, unpacked_disk

if TYPE_CHECKING:
    from collections.abc import Callable

    from haulout.guest import Answer
    from haulout.oci import Reference
    from haulout.progress import Progress
    from haulout.workload import Binding, UnpackedDisk

LAUNCH: Final = "launch.img"
SMALLEST_MEMORY: Final = 512
"""MiB: the guest itself is unpacked into memory."""
_START_SECONDS: Final = 60.0


class Hardware(StrEnum):
    """What else runs such an image."""

    KRUN = "krun"
    QEMU_SNP = "qemu-snp"
    QEMU_TDX = "qemu-tdx"


@dataclass(frozen=True, slots=True)
class Measured:
    """What an emulated TEE vouches for: what QEMU was given.

    Attributes:
        kernel, initramfs: the files that boot.
        command_line: of the kernel.
        binding: of the workload that the machine is started for.
        tee: which TEE the image is for.
    """

    kernel: Path
    initramfs: Path
    command_line: str
    binding: Binding
    tee: str


class Emulator(Protocol):
    """Makes an emulated TEE for one boot, a function that signs report data; b"" asks which TEE it is."""

    def __call__(self, boot: Measured) -> Callable[[bytes], Answer]:
        """Measure what boots."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadRequest:
    """What to run.

    Attributes:
        subject: an image, or a folder that one was unpacked into.
        guest: folder of the guest.
        broker_url: instead of the URL in the image.
        resource: of the broker that holds the passphrase, ``repository/type/tag``; "": ``default/key/`` and the id.
        append: added to the kernel's command line, which is measured.
        forwards: port of this machine and port of the guest, TCP.
        cpus: None: as the image says.
        memory: MiB; None: as the image says, but at least 512.
        unpack: folder that the image is unpacked into and stays in; None: one that is removed.
        vouched: the binding that the TEE vouches for, as a host could give it; None: the one that is handed over.
        seconds: after which the machine is switched off; None: never.
    """

    subject: Path | Reference
    guest: Path
    broker_url: str | None = None
    resource: str = ""
    append: str = ""
    forwards: tuple[tuple[int, int], ...] = ()
    cpus: int | None = None
    memory: int | None = None
    unpack: Path | None = None
    vouched: Binding | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class WorkloadRun(Document):
    """How a run ended.

    Attributes:
        workload_id: whose it was.
        started: whether the workload was started.
        code: exit code of the workload; None: it did not end by itself.
        rule: why it was not started, or died: a rule of the guest, ``died``, or None.
        reason: one line about it, or None.
        steps: what the guest did, in order.
        seconds: from the start of QEMU to its end.
        start_seconds: to the start of the workload; None: it was not started.
    """

    workload_id: str
    started: bool
    code: int | None
    rule: str | None
    reason: str | None
    steps: tuple[str, ...]
    seconds: float
    start_seconds: float | None


def run_workload(
    request: WorkloadRequest,
    emulator: Emulator,
    *,
    console: Callable[[bytes], None],
    told: Callable[[str, str], None],
    connections: ConnectionOptions | None = None,
    progress: Progress | None = None,
) -> WorkloadRun:
    """Boot a confidential image under QEMU; its guest attests to the broker, unlocks the disk and starts the workload.

    Args:
        request: what to run.
        emulator: the TEE.
        console: gets what the guest writes to its console.
        told: gets each step of the guest and a line about it, from another thread.
        connections: how registries are reached.
        progress: receives the progress of the work.

    Raises:
        HauloutError: see the tree in :mod:`haulout.errors`. A guest that refuses, or dies, is a result.
    """
    with ExitStack() as stack:
        machine, unpacked = _prepared(request, stack, connections, progress or NullProgress())
        folder = stack.enter_context(private_folder("haulout-run-"))
        program, accelerator = qemu_here(Machines.here().cache / "accelerator.json")
        ports = Ports(folder, told)
        argv = lines.emulated(machine, program, str(accelerator), ports.tee, ports.status)
        binding = request.vouched or unpacked.binding
        sign = emulator(
            Measured(machine.kernel, machine.initramfs, machine.command_line, binding, str(unpacked.config.tee))
        )
        begun = time.monotonic()
        with started(argv, stdout=PIPE) as process:
            wait_until(ports.ready, process, seconds=_START_SECONDS, what="its sockets")
            ports.serve(sign)
            watch = threading.Timer(request.seconds, process.terminate) if request.seconds else None
            if watch is not None:
                watch.daemon = True
                watch.start()
            assert process.stdout is not None
            tail = follow(process.stdout, console)
            process.wait()
            if watch is not None:
                watch.cancel()
            errors = process.stderr.read() if process.stderr else b""
        seconds = time.monotonic() - begun
        ports.finish()
        if process.returncode and not ports.events:
            raise ToolError(Path(program).name, f"ended with exit code {process.returncode}: {last_line(errors)}")
        return _judged(unpacked.binding.workload_id, ports, tail, seconds, begun)


def workload_arguments(
    request: WorkloadRequest,
    hardware: Hardware,
    *,
    connections: ConnectionOptions | None = None,
    progress: Progress | None = None,
) -> list[str]:
    """Return the command line that runs an image on real hardware.

    Raises:
        UsageError: the files that it names would not be there any more.
        HauloutError: as :func:`run_workload`.
    """
    if hardware is Hardware.KRUN:
        if isinstance(request.subject, Path):
            raise UsageError("crun runs an image, not a folder", hint="name the image in a registry")
        return lines.krun(str(request.subject))
    if not isinstance(request.subject, Path) and request.unpack is None:
        raise UsageError("QEMU needs the disk as a file", hint="say where to unpack it: --unpack DIR")
    with ExitStack() as stack:
        machine, unpacked = _prepared(request, stack, connections, progress or NullProgress(), hosted=False)
    make = {Hardware.QEMU_SNP: lines.qemu_snp, Hardware.QEMU_TDX: lines.qemu_tdx}[hardware]
    return make(machine, unpacked.binding)


def _prepared(
    request: WorkloadRequest,
    stack: ExitStack,
    connections: ConnectionOptions | None,
    progress: Progress,
    *,
    hosted: bool = True,
) -> tuple[lines.Machine, UnpackedDisk]:
    """Unpack the image, write the launch document, and return what is started."""
    guest = read_guest(request.guest)
    if isinstance(request.subject, Path):
        folder = request.subject
        unpacked = unpacked_disk(folder)
    else:
        folder = request.unpack or stack.enter_context(private_folder("haulout-workload-"))
        reference = reference_of(request.subject)
        with open_store(reference, connections or ConnectionOptions(), progress) as store:
            unpacked = unpack_disk(Image(store, reference), folder, progress)
    url = request.broker_url or unpacked.config.attestation_url
    if not url:
        raise UsageError("the image names no key broker", hint="name one: --broker-url https://HOST:PORT")
    # The key goes to whoever holds the key of the binding, encrypted; the guest refuses plain HTTP.
    url = check_url(url, plain=True)
    launch = folder / LAUNCH
    with storage_errors(launch):
        document = Launch(unpacked.binding, _as_seen_inside(url) if hosted else url, request.resource)
        replace_file(launch, document.to_bytes(), durable=False)
    machine = lines.Machine(
        guest.kernel,
        guest.initramfs,
        f"{guest.command_line} {request.append}".strip(),
        unpacked.disk,
        launch,
        request.cpus or unpacked.config.cpus,
        request.memory or max(SMALLEST_MEMORY, unpacked.config.ram_mib),
        request.forwards,
    )
    return machine, unpacked


def _as_seen_inside(url: str) -> str:
    """Return a URL of this machine as a guest reaches it."""
    parts = urlsplit(url)
    if parts.hostname is None or not is_loopback(parts.hostname):
        return url
    port = f":{parts.port}" if parts.port else ""
    return parts._replace(netloc=f"{lines.HOST}{port}").geturl()


def _judged(workload_id: str, ports: Ports, tail: list[str], seconds: float, begun: float) -> WorkloadRun:
    begin = next((one.at - begun for one in ports.events if one.step == "start"), None)
    refused = next((one for one in ports.events if one.step == "refused"), None)
    ended = next((one for one in ports.events if one.step == "ended"), None)
    code = ended.more.get("code") if ended is not None else None
    rule, reason = None, None
    if refused is not None:
        rule, reason = str(refused.more.get("rule")), refused.text
    elif ended is None:
        fatal = [found[1] for line in tail if (found := FATAL.search(line))]
        rule, reason = "died", fatal[0] if fatal else (tail[-1] if tail else "the machine said nothing")
    steps = tuple(one.step for one in ports.events)
    return WorkloadRun(workload_id, begin is not None, code, rule, reason, steps, seconds, begin)
