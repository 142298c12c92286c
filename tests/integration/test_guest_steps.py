"""What a guest does up to the key, against a real broker, for each attempt of the demo; no machine is started.

tests/integration/test_confidential.py boots all of them.
"""

from __future__ import annotations

import json
import re
import shutil

import pytest
from demo.confidential import ATTEMPTS, HAULOUT, haulout, laboratory
from tests.support.servers import needs

from haulout.cli.cw.emulated import emulator_in
from haulout.guest.disk import checked_header
from haulout.guest.launch import Launch
from haulout.guest.refusal import GuestRefusal
from haulout.guest.session import fetch_passphrase, require_own_binding
from haulout.guests import Measured
from haulout.workload import unpacked_disk

pytestmark = [pytest.mark.tools, pytest.mark.long, needs("busybox", "cpio")]
GUEST = {"command_line": "quiet", "size": 1, "digests": {}, "packages": {}}


class Device:
    """An emulated TEE without its port."""

    name, tee = "an emulated TEE", "snp"

    def __init__(self, sign):
        self.evidence = sign


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    assert HAULOUT
    work = tmp_path_factory.mktemp("lab")
    (work / "guest").mkdir()
    (work / "guest/guest.json").write_text(json.dumps(GUEST))
    (work / "guest/vmlinuz").write_bytes(b"kernel" * 5000)
    (work / "guest/initramfs").write_bytes(b"initramfs" * 5000)
    said: list[str] = []
    with laboratory(work, work / "guest", said.append) as found:
        yield found


@pytest.mark.parametrize("one", [one for one in ATTEMPTS if one.rule != "died"], ids=lambda one: one.title)
def test_a_key_is_released_for_what_was_built_and_nothing_else(lab, one, tmp_path):
    image, guest = tmp_path / "image", tmp_path / "guest"
    shutil.copytree(lab.image, image)
    shutil.copytree(lab.guest, guest)
    more = one.prepare(lab, image, guest)
    options = dict(zip(more[::2], more[1::2], strict=True))
    url = options.get("--broker-url", lab.url)
    haulout(*("cw", "run", image, "--guest", guest, "--broker-url", url, "--print-arguments", "qemu-snp"), cwd=lab.work)
    launch = Launch.parse((image / "launch.img").read_bytes())
    line = f"quiet {options.get('--append', '')}".strip()
    boot = Measured(guest / "vmlinuz", guest / "initramfs", line, unpacked_disk(image).binding, "snp")
    device = Device(emulator_in(lab.work / "emulator")(boot))

    def steps():
        require_own_binding(device, launch.binding)
        checked_header(image / "disk.img", launch.binding)
        return fetch_passphrase(launch, device, lambda text: None, seconds=60)

    if one.rule is None:
        assert steps() == lab.passphrase
    else:
        with pytest.raises(GuestRefusal, match=one.reason) as refused:
            steps()
        assert refused.value.rule == one.rule
    rules = [row["rule"] if row["decision"] == "refused" else "allowed" for row in lab.new_rows() if row["decision"]]
    assert (one.broker in rules) if one.broker else not rules, rules
    assert not re.search(lab.passphrase.decode(), (lab.work / "broker.log").read_text())
