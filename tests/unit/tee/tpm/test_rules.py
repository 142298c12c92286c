"""What a policy demands of a TPM's quote."""

from __future__ import annotations

import hashlib

import pytest
from tests.support.evidence import policy, rule_of
from tests.support.tpm import Quoted
from tests.unit.tee.tpm.test_genuine import EK, judge

from haulout.errors import InvalidPolicy
from haulout.tee.tpm.endorsement import fingerprint

BINDING = hashlib.sha256(b"binding").digest()
ZEROS = bytes(32)


def workload(pcr: int = 8, digest: bytes = BINDING) -> Quoted:
    """A TPM into which a binding was extended."""
    quoted = Quoted()
    quoted.pcrs[("sha256", pcr)] = hashlib.sha256(ZEROS + digest).digest()
    return quoted


@pytest.mark.parametrize(
    ("lines", "rule"),
    [
        (f'pcr4 = ["{"04" * 32}"]', None),
        (f'pcr4 = ["{"05" * 32}", "{"04" * 32}"]', None),
        (f'pcr4 = ["{"05" * 32}"]', "measurement"),
        (f'pcr5 = ["{"05" * 32}"]', "measurement"),
        (f'pcr4 = ["{"04" * 48}"]', "measurement"),
        (f'workload = ["{BINDING.hex()}"]', "workload"),
        ('manufacturers = ["id:48414F00"]', None),
        ('manufacturers = ["id:494E5443"]', "product-not-allowed"),
        (f'eks = ["{fingerprint(EK.public_key())}"]', None),
        (f'eks = ["{"00" * 32}"]', "chip-not-allowed"),
    ],
    # The key is another one each time: a name must not be.
    ids=range(10),
)
def test_each_key_of_the_section_counts(lines, rule):
    assert rule_of(judge(Quoted(), lines)) == rule


def test_a_workload_is_what_was_extended_first():
    listed = f'workload = ["{BINDING.hex()}"]'
    assert rule_of(judge(workload(), listed)) is None
    assert rule_of(judge(workload(digest=ZEROS), listed)) == "workload"
    assert rule_of(judge(workload(9), listed)) == "workload"
    assert rule_of(judge(workload(9), f"{listed}\nworkload-pcr = 9")) is None


def test_every_quoted_bank_for_which_values_are_listed_has_to_fit():
    quoted = Quoted()
    quoted.pcrs[("sha384", 4)] = b"\4" * 48
    small, large, other = "04" * 32, "04" * 48, "05" * 48
    assert rule_of(judge(quoted, f'pcr4 = ["{small}"]')) is None
    assert rule_of(judge(quoted, f'pcr4 = ["{small}", "{large}"]')) is None
    assert rule_of(judge(quoted, f'pcr4 = ["{small}", "{other}"]')) == "measurement"


def test_an_attestation_key_alone_names_no_chip_and_no_maker():
    quoted = Quoted()
    for lines, rule in (
        (f'eks = ["{"00" * 32}"]', "chip-not-allowed"),
        ('manufacturers = ["x"]', "product-not-allowed"),
    ):
        named = policy(f'[tpm]\naks = ["{quoted.name.hex()}"]\n{lines}')
        assert rule_of(judge(quoted, policy=named, certificates=[], collateral=[])) == rule


@pytest.mark.parametrize(
    ("lines", "key"),
    [
        ("pcr16 = []", "tpm.pcr16"),
        ("workload-pcr = 16", "tpm.workload-pcr"),
        ('authorities = ["x"]', "tpm.authorities"),
        ("authorities = [1]", "tpm.authorities"),
        ('aks = ["00"]', "tpm.aks"),
        ("unknown = 1", "tpm.unknown"),
    ],
)
def test_a_section_with_impossible_values_is_refused(lines, key):
    with pytest.raises(InvalidPolicy) as caught:
        policy(f"[tpm]\n{lines}")
    assert caught.value.key == key
