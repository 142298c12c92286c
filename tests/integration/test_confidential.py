"""A confidential image from its build to its page, in a real guest; and each attempt to cheat, refused for its reason.

Half a minute for each boot without KVM: make test-confidential.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from demo.confidential import ATTEMPTS, attempt, laboratory
from tests.support.servers import needs

from haulout.cli.cw.emulated import emulator_in
from haulout.guests import WorkloadRequest, build_guest, run_workload
from haulout.workload import Binding, unpacked_disk

pytestmark = [
    pytest.mark.tools,
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not os.environ.get("HAULOUT_TEST_CONFIDENTIAL"), reason="set HAULOUT_TEST_CONFIDENTIAL to run"),
]


@pytest.fixture(scope="module")
def guest(tmp_path_factory):
    """The guest; HAULOUT_TEST_CONFIDENTIAL may name a folder that has it."""
    given = Path(os.environ["HAULOUT_TEST_CONFIDENTIAL"])
    if (given / "guest.json").exists():
        return given
    folder = tmp_path_factory.mktemp("guest")
    build_guest(folder)
    return folder


@pytest.fixture(scope="module")
def lab(guest, tmp_path_factory):
    with laboratory(tmp_path_factory.mktemp("lab"), guest) as found:
        yield found


@needs("qemu-system-x86_64", "busybox", "cpio", "apt-get", "dpkg-deb")
@pytest.mark.parametrize("one", ATTEMPTS, ids=[one.title for one in ATTEMPTS])
def test_an_image_serves_its_page_as_it_was_built_and_in_no_other_way(lab, one):
    result = attempt(lab, one)
    # No secret of the disk is on the console, which the host reads.
    assert lab.passphrase.decode() not in result["console"]


@needs("qemu-system-x86_64")
def test_a_guest_started_for_one_workload_does_not_take_the_binding_of_another(lab, tmp_path):
    """The host's own disk and broker, under the value that another workload's key is released for."""
    image = tmp_path / "image"
    shutil.copytree(lab.image, image)
    mine = unpacked_disk(lab.image).binding
    path = image / "haulout-binding.json"
    path.write_bytes(replace(mine, broker_key=b"the key of the host's broker").to_bytes())
    said: list[bytes] = []
    run = run_workload(
        WorkloadRequest(subject=image, guest=lab.guest, broker_url=lab.other_url, vouched=mine, seconds=400),
        emulator_in(lab.work / "emulator"),
        console=said.append,
        told=lambda step, text: None,
    )
    assert (run.rule, run.started, run.code) == ("binding-value", False, None)
    assert run.steps == ("binding", "refused")
    assert Binding.parse(path.read_bytes()).host_data.hex()[:16] in str(run.reason)


@needs("apt-get", "dpkg-deb")
def test_the_same_packages_give_the_same_guest(guest, tmp_path):
    made = build_guest(tmp_path)
    about = json.loads((guest / "guest.json").read_text())
    assert made.digests == about["digests"]
    assert made.size == made.initramfs.stat().st_size <= 12 << 20
    assert hashlib.sha256(made.initramfs.read_bytes()).hexdigest() == made.digests["initramfs"]
