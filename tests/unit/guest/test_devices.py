"""Devices: an emulated one over a real socket pair, the kernel's by what their interfaces say."""

import ctypes
import os
import struct
import threading
from pathlib import Path

import pytest

from haulout.guest.devices import Answer, as_answer, as_question, emulated, find_device, read_answer, read_question
from haulout.guest.devices.configfs import REPORTS, find_configfs
from haulout.guest.devices.sev import GET_EXT_REPORT, SevDevice, find_sev, read_certificates
from haulout.guest.refusal import GuestRefusal, Rule

VCEK = "63da758de6644564adc5f4b93be8accd"
ASK = "4ab7b379bbac4fe4a02f05aef327c782"
DATA = bytes(range(64))


def table(*entries):
    head, body = b"", b""
    start = 24 * (len(entries) + 1)
    for guid, data in entries:
        head += struct.pack("<16sII", bytes.fromhex(guid), start + len(body), len(data))
        body += data
    return head + bytes(24) + body


def test_certificates_of_a_table_come_with_the_signers_first():
    assert read_certificates(table((ASK, b"ask"), ("ff" * 16, b"other"), (VCEK, b"vcek"))) == (b"vcek", b"ask")


@pytest.mark.parametrize("data", [b"", bytes(24), bytes(10), b"\xff" * 4096, table((VCEK, b""))])
def test_a_table_without_certificates_has_none(data):
    assert read_certificates(data) == ()


def test_a_table_that_leads_out_of_itself_is_not_followed():
    assert read_certificates(struct.pack("<16sII", bytes.fromhex(VCEK), 20, 1 << 31) + bytes(24)) == ()


def test_sev_guest_is_asked_as_its_header_says(tmp_path):
    """The layout of the request; the device itself exists on that hardware alone."""
    (tmp_path / "dev").mkdir()
    assert find_sev(tmp_path) is None
    (tmp_path / "dev/sev-guest").touch()
    seen = []

    def firmware(descriptor, number, argument):
        version, request, response, _ = struct.unpack("<B7xQQQ", argument)
        data, vmpl, room, size = struct.unpack("<64sI28xQI4x", ctypes.string_at(request, 112))
        seen.append((number, version, data, vmpl, size))
        ctypes.memmove(response, struct.pack("<II24x", 0, 1184) + b"R" * 1184, 32 + 1184)
        certificates = table((VCEK, b"vcek"))
        ctypes.memmove(room, certificates, len(certificates))

    answer = SevDevice(tmp_path / "dev/sev-guest", firmware).evidence(DATA)
    assert answer == Answer("snp", b"R" * 1184, (b"vcek",))
    assert seen == [(GET_EXT_REPORT, 1, DATA, 0, 16384)]


def test_a_failing_firmware_is_a_refusal(tmp_path):
    device = tmp_path / "sev-guest"
    device.touch()

    def failing(descriptor, number, argument):
        raise OSError(5, "Input/output error")

    for control in (failing, lambda *_: None):
        with pytest.raises(GuestRefusal) as refused:
            SevDevice(device, control).evidence(DATA)
        assert refused.value.rule is Rule.DEVICE


@pytest.mark.parametrize(("provider", "tee"), [("sev_guest", "snp"), ("tdx_guest", "tdx"), ("arm_cca_guest", None)])
def test_configfs_is_read_as_the_kernel_documents_it(tmp_path, provider, tee):
    assert find_configfs(tmp_path) is None
    entry = tmp_path / REPORTS / f"haulout-{os.getpid()}"
    entry.mkdir(parents=True)
    (entry / "provider").write_text(f"{provider}\n")
    (entry / "outblob").write_bytes(b"evidence")
    (entry / "auxblob").write_bytes(table((VCEK, b"vcek")))
    device = find_configfs(tmp_path)
    if tee is None:
        assert device is None
        return
    assert device is not None
    assert device.evidence(DATA) == Answer(tee, b"evidence", (b"vcek",) if tee == "snp" else ())
    assert (entry / "inblob").read_bytes() == DATA
    (entry / "outblob").unlink()
    with pytest.raises(GuestRefusal):
        device.evidence(DATA)


def test_a_real_tee_comes_before_an_emulated_one(tmp_path):
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/sev-guest").touch()
    port = tmp_path / "sys/class/virtio-ports/vport1p1"
    port.mkdir(parents=True)
    (port / "name").write_text("io.github.haulout.tee\n")
    assert isinstance(find_device(tmp_path), SevDevice)


def test_without_a_tee_nothing_is_asked(tmp_path):
    with pytest.raises(GuestRefusal) as refused:
        find_device(tmp_path)
    assert refused.value.rule is Rule.DEVICE


def test_an_emulated_tee_answers_line_by_line(tmp_path):
    """A pseudo terminal in the place of the port: it is read and written by one descriptor, too."""
    import pty
    import tty

    host, guest = pty.openpty()
    tty.setraw(guest)
    name = Path(os.ttyname(guest))

    def serve():
        for _ in range(2):
            line = b""
            while not line.endswith(b"\n"):
                line += os.read(host, 4096)
            data = read_question(line)
            os.write(host, as_answer(Answer("snp", data * 20, (b"one", b"two"))))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    device = emulated.EmulatedDevice(name)
    assert device.tee == "snp"
    assert device.evidence(DATA) == Answer("snp", DATA * 20, (b"one", b"two"))
    thread.join()
    os.close(host)
    os.close(guest)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b"{}",
        b'{"tee":1}',
        b'{"tee":"snp","evidence":"!","certificates":[]}',
        b'{"tee":"snp","evidence":"","certificates":3}',
    ],
)
def test_another_answer_is_a_refusal(line):
    with pytest.raises(GuestRefusal):
        read_answer(line)


@pytest.mark.parametrize(
    "line", [b"", b"[]", b"{}", b'{"report_data":"zz"}', b'{"report_data":"00"}', b'{"report_data":3}']
)
def test_another_question_is_an_error(line):
    with pytest.raises(ValueError):
        read_question(line)


def test_questions_come_back_as_they_were():
    assert read_question(as_question(DATA)) == DATA
    assert read_question(as_question(b"")) == b""
