"""The first process of a guest: from the launch document to the workload, and off when that has ended.

Busybox has mounted /proc, /sys and /dev, loaded the modules and set up the network before (initramfs/init).
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from haulout.errors import HauloutError
from haulout.guest import disk as disks
from haulout.guest.devices import find_device
from haulout.guest.devices.emulated import find_port
from haulout.guest.launch import DISK_SERIAL, MAX_BYTES, SERIAL, STATUS_PORT, Launch
from haulout.guest.refusal import GuestRefusal, Rule
from haulout.guest.root import mounted_root, start
from haulout.guest.session import fetch_passphrase, require_own_binding

_SCRATCH: Final = Path("/run/haulout")


class Status:
    """What the guest says of itself: lines on the console, and JSON for the host where it listens."""

    def __init__(self) -> None:
        self._port = -1
        path = find_port(Path("/"), STATUS_PORT)
        if path is not None:
            with suppress(OSError):
                self._port = os.open(path, os.O_RDWR)

    def say(self, step: str, text: str = "", **more: Any) -> None:
        """Say it."""
        sys.stderr.write(f"haulout: {step}{': ' if text else ''}{text}\n")
        sys.stderr.flush()
        if self._port >= 0:
            line = json.dumps({"step": step, "text": text, **more}).encode() + b"\n"
            with suppress(OSError):
                os.write(self._port, line)


def find_disk(serial: str, root: Path = Path("/")) -> Path:
    """Return the device of a virtio disk by its serial number.

    Raises:
        GuestRefusal: there is none.
    """
    for one in sorted(root.glob("sys/block/vd*/serial")):
        if one.read_text().strip() == serial:
            return root / "dev" / one.parent.name
    raise GuestRefusal(Rule.LAUNCH, f"there is no disk with the serial number {serial}")


def read_launch(device: Path) -> Launch:
    """Read the launch document from its disk.

    Raises:
        GuestRefusal: it cannot be read.
    """
    try:
        with device.open("rb") as file:
            return Launch.parse(file.read(MAX_BYTES))
    except OSError as exc:
        raise GuestRefusal(Rule.LAUNCH, f"{device} cannot be read: {exc.strerror}") from exc


def boot(status: Status) -> int:
    """Do all of it, and return the workload's exit code.

    Raises:
        GuestRefusal: something is not as the binding says, or the broker refuses.
    """
    launch = read_launch(find_disk(SERIAL))
    binding = launch.binding
    status.say("binding", f"workload {binding.workload_id}, {binding.digest}")
    device = find_device()
    require_own_binding(device, binding)
    status.say("vouched", f"{device.name} vouches for this binding")
    encrypted = find_disk(DISK_SERIAL)
    header = disks.checked_header(encrypted, binding)
    status.say("header", "the disk's header is the one of the binding")
    passphrase = fetch_passphrase(launch, device, lambda text: status.say("attest", text))
    status.say("key", f"the broker at {launch.broker_url} released the key")
    _SCRATCH.mkdir(parents=True, exist_ok=True)
    verified = disks.unlock(encrypted, header, passphrase, binding, _SCRATCH)
    status.say("unlocked", f"LUKS1 and dm-verity are mapped at {verified}")
    root, command = mounted_root(verified, _SCRATCH)
    status.say("start", " ".join(command.argv)[:200], ports=list(command.ports))
    return start(root, command)


def main() -> None:
    """Run as the first process, and power off."""
    status = Status()
    try:
        code = boot(status)
        status.say("ended", f"the workload ended with exit code {code}", code=code)
    except HauloutError as exc:
        rule = exc.rule if isinstance(exc, GuestRefusal) else "error"
        status.say("refused", str(exc), rule=str(rule))
    except Exception as exc:  # noqa: BLE001 - the first process must not end otherwise: the kernel would panic
        status.say("refused", f"{type(exc).__name__}: {exc}", rule="error")
    os.sync()
    os.execv("/bin/busybox", ["busybox", "poweroff", "-f"])  # noqa: S606 - the machine's own program


if __name__ == "__main__":
    main()
