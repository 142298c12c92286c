"""QEMU's command line, by golden files: ``HAULOUT_UPDATE_GOLDEN=1 pytest …/test_argv.py`` writes them anew."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.servers import needs
from tests.unit.machine.test_model import MACHINE

from haulout.machine import Accelerator, DiskKind, Image
from haulout.machine.qemu.argv import Files, command

GOLDEN = Path(__file__).parent / "golden"
FILES = Files(
    base=Path("/data/images/sha256-aa"),
    system=Path("/data/machines/web/system.qcow2"),
    data=Path("/data/machines/web/data.raw"),
    seed=Path("/data/machines/web/seed"),
    ignition=Path("/data/machines/web/ignition.json"),
    console=Path("/data/machines/web/console.log"),
    qmp=Path("/run/web/qmp.sock"),
)
UEFI = (Path("/usr/share/firmware/code.fd"), Path("/data/machines/web/firmware.vars"))
RAW = replace(MACHINE, image=Image(MACHINE.image.reference, MACHINE.image.pinned, DiskKind.RAW), mounts=(), forwards=())
CASES = {
    "linux-x86_64-kvm": (replace(MACHINE, mounts=()), FILES, Accelerator.KVM, "x86_64"),
    "linux-x86_64-tcg": (RAW, FILES, Accelerator.TCG, "x86_64"),
    "linux-x86_64-mounts": (MACHINE, replace(FILES, mounts=(Path("/run/web/fs0.sock"),)), Accelerator.KVM, "x86_64"),
    "linux-aarch64-kvm": (RAW, replace(FILES, firmware=UEFI), Accelerator.KVM, "aarch64"),
    "macos-aarch64-hvf": (RAW, replace(FILES, firmware=UEFI), Accelerator.HVF, "aarch64"),
    "macos-x86_64-hvf": (RAW, replace(FILES, firmware=UEFI), Accelerator.HVF, "x86_64"),
}


def shown(words):
    """One option on each line, with its value."""
    text = words[0]
    for word in words[1:]:
        text += f"\n{word}" if word.startswith("-") else f" {word}"
    return text + "\n"


@pytest.mark.parametrize("name", CASES)
def test_the_command_line(name):
    machine, files, accelerator, architecture = CASES[name]
    text = shown(command(machine, files, accelerator, architecture, "io.systemd.credential.binary:x=eA=="))
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("HAULOUT_UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


def test_a_comma_in_a_path_is_no_option():
    odd = replace(FILES, data=Path("/a,readonly=on/data.raw"))
    words = command(RAW, odd, Accelerator.TCG, "x86_64", "x")
    assert any("filename=/a,,readonly=on/data.raw" in word for word in words)


@pytest.mark.tools
@needs("qemu-system-x86_64")
def test_qemu_takes_every_option(tmp_path):
    """It gets as far as the first file that is not there, so that all it was told was understood."""
    words = command(RAW, FILES, Accelerator.TCG, "x86_64", "x")
    done = subprocess.run([*words, "-S"], capture_output=True, text=True, timeout=20, check=False, cwd=tmp_path)
    assert done.returncode == 1
    assert "No such file or directory" in done.stderr
    assert "/data/" in done.stderr
