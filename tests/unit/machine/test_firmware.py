"""UEFI firmware is found by the descriptors that come with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from haulout.errors import ToolError
from haulout.machine.qemu import firmware


def describe(folder, name, *, architecture="x86_64", kind="raw", board="pc-q35-*", **changes):
    """Write a descriptor whose files are there; return the path of its code."""
    folder.mkdir(exist_ok=True)
    code, variables = folder / f"{name}.code", folder / f"{name}.vars"
    code.touch()
    variables.touch()
    document = {
        "interface-types": ["uefi"],
        "mapping": {
            "device": "flash",
            "executable": {"filename": str(code), "format": kind},
            "nvram-template": {"filename": str(variables), "format": kind},
        },
        "targets": [{"architecture": architecture, "machines": [board]}],
        "features": ["acpi-s3"],
    }
    (folder / f"{name}.json").write_text(json.dumps({**document, **changes}))
    return code


def test_the_first_that_fits_is_taken_and_others_are_passed_over(tmp_path):
    place = tmp_path / "usual"
    describe(place, "10-bios", **{"interface-types": ["bios"]})
    describe(place, "20-secure", features=["requires-smm", "secure-boot"])
    describe(place, "25-keys", features=["enrolled-keys"])
    describe(place, "30-microvm", board="microvm")
    describe(place, "35-memory", mapping={"device": "memory", "filename": "x"})
    describe(place, "36-odd", kind="vhdx")
    describe(place, "37-gone").unlink()
    (place / "38-damaged.json").write_text("{")
    (place / "39-list.json").write_text("[]")
    arm = describe(place, "40-arm", architecture="aarch64", board="virt-*", kind="qcow2")
    good = describe(place, "60-good")
    describe(place, "70-later")
    assert firmware.find("x86_64", (place,)).code == good
    assert firmware.find("aarch64", (place,)) == firmware.Uefi(arm, place / "40-arm.vars", "qcow2")


def test_an_administrators_descriptor_replaces_one_of_the_same_name(tmp_path):
    describe(tmp_path / "usual", "60-good")
    own = describe(tmp_path / "own", "60-good")
    assert firmware.find("x86_64", (tmp_path / "own", tmp_path / "usual")).code == own
    # An empty one hides it.
    (tmp_path / "own/60-good.json").write_text("")
    with pytest.raises(ToolError, match="not installed"):
        firmware.find("x86_64", (tmp_path / "own", tmp_path / "usual"))


@pytest.mark.tools
@pytest.mark.parametrize(("architecture", "folder"), [("x86_64", "OVMF"), ("aarch64", "AAVMF")])
def test_debians_is_found(architecture, folder):
    if not Path("/usr/share", folder).exists():
        pytest.skip(f"not installed: {folder}")
    found = firmware.find(architecture, firmware.folders("qemu-system-x86_64"))
    assert found.code.parent == Path("/usr/share", folder)
    assert "secboot" not in found.code.name


def test_a_qemu_with_a_place_of_its_own_brings_descriptors(tmp_path, monkeypatch):
    program = tmp_path / "opt/bin/qemu-system-x86_64"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    found = firmware.folders(str(program))
    assert found[0] == tmp_path / "config/qemu/firmware"
    assert found[-1] == tmp_path / "opt/share/qemu/firmware"
