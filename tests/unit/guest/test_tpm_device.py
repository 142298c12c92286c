"""The TPM of a guest: what it refuses, and that a device that is not there is not asked."""

import pytest

from haulout.guest.devices.tpm import TpmDevice, bound, find_tpm
from haulout.guest.refusal import GuestRefusal, Rule


def answering(*answers):
    left = list(answers)

    def send(command):
        assert int.from_bytes(command[2:6], "big") == len(command)
        return left.pop(0)

    return TpmDevice("a TPM of the tests", send)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (bytes.fromhex("80010000000a0000018b"), r"refused NV_ReadPublic \(0x18b\)"),
        (b"", "ends too early"),
        (bytes.fromhex("80010000000b00000000"), "size"),
        (bytes.fromhex("80010000000c00000000ffff"), "at most 256"),
    ],
)
def test_a_tpm_that_fails_is_a_refusal(answer, reason):
    with pytest.raises(GuestRefusal, match=reason) as refused:
        answering(answer).keys()
    assert refused.value.rule is Rule.DEVICE


def test_a_tpm_that_does_not_answer_is_a_refusal():
    def send(_):
        raise OSError(5, "Input/output error")

    with pytest.raises(GuestRefusal, match="Input/output error"):
        TpmDevice("a TPM of the tests", send).bind(bytes(32))


def test_a_device_that_is_not_there(tmp_path):
    assert find_tpm(tmp_path) is None
    (tmp_path / "dev/tpmrm0").mkdir(parents=True)
    with pytest.raises(GuestRefusal, match="cannot be opened"):
        find_tpm(tmp_path)


def test_the_register_of_a_binding():
    assert bound(bytes(32)).hex() == "f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a92759fb4b"
