"""What libkrun reads at the end of a disk."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.workloads import config

from haulout.errors import InvalidWorkload
from haulout.tee import KINDS
from haulout.workload import krun
from haulout.workload.binding import Binding


def test_the_json_is_mkcws_to_the_byte():
    assert config(workload_id="wid1").to_bytes() == (
        b'{"tee":"snp","tee_data":"{\\"gen\\":\\"milan\\"}","workload_id":"wid1","cpus":2,"ram_mib":512,"attestation_url":""}'
    )
    sev = krun.WorkloadConfig.of(krun.Tee.SEV, "web", 2, 512, chain=True)
    assert sev.tee_data == '{"vendor_chain":"/sev.chain","attestation_server_pubkey":""}'


@given(st.integers(0, 1 << 40), st.binary(max_size=9000))
def test_a_disk_with_its_footer_is_whole_blocks(before, document):
    size = before + krun.padding(before, document) + len(krun.footer(document))
    assert size % 4096 == 0
    assert krun.padding(before, document) < 4096
    assert krun.json_size(krun.footer(document)[-12:], before + len(document), "disk") == len(document)


@given(st.binary(max_size=200))
def test_the_json_of_strangers_raises_declared_errors_alone(data):
    for parse in (krun.WorkloadConfig.parse, Binding.parse):
        with pytest.raises(InvalidWorkload):
            parse(data, "it")


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"tee": "sgx"}, "tee"),
        ({"cpus": 0}, "json"),
        ({"cpus": 256}, "json"),
        ({"cpus": True}, "json"),
        ({"ram_mib": "512"}, "json"),
        ({"workload_id": None}, "json"),
    ],
)
def test_impossible_configurations_are_named(changes, rule):
    values = json.loads(config().to_bytes()) | changes
    with pytest.raises(InvalidWorkload) as refused:
        krun.WorkloadConfig.parse(json.dumps(values).encode(), "it")
    assert refused.value.rule == rule


def test_json_above_1_mib_is_not_read():
    with pytest.raises(InvalidWorkload, match="at most 1048576"):
        krun.WorkloadConfig.parse(b" " * ((1 << 20) + 1), "it")
    with pytest.raises(InvalidWorkload, match="the limit is 1048576"):
        krun.json_size(b"KRUN" + struct.pack("<Q", (1 << 20) + 1), 1 << 30, "disk")


def test_tees_and_kinds_of_evidence_have_the_same_names():
    assert {tee.value for tee in krun.Tee} - {kind.name for kind in KINDS} == {"sev"}
    # A TPM is no TEE that an image is built for.
    assert {kind.name for kind in KINDS} - {tee.value for tee in krun.Tee} == {"tpm"}
