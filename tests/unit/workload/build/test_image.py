"""The room that is left in an image."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import subprocess
import sys
from pathlib import Path
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st
from tests.support.evidence import AT, BOOT, DATA, cca, snp, tdx
from tests.support.evidence import given as certificates
from tests.support.workloads import config
from haulout.emulator import make_bundle
from haulout.errors import InvalidWorkload, UsageError
from haulout.oci import Digest
from haulout.tee import KINDS, parse_policy, verify
from haulout.workload import krun, policy
from haulout.workload.binding import Binding, broker_key
from haulout.workload.build import entrypoint
from haulout.workload.build.image import size_with
from haulout.workload.build.registration import Registration, check_url, parse_registration
from haulout.workload.measurement import GivenMeasurement, KrunGuest, SnpGuest, expected_measurement


@pytest.mark.parametrize(
    ("content", "wanted", "size"),
    [
        (100 << 20, "25%", 125 << 20),
        (100 << 20, "", 100 << 20),
        (100 << 20, "10%+10MB", 120 << 20),
        (100 << 20, "10MB+10%", 121 << 20),
        (100 << 20, "200%", 300 << 20),
        (100 << 20, "1g", (100 << 20) + (1 << 30)),
        (1, "25%", 10 << 20),
        ((10 << 20) + 1, "0%", (10 << 20) + 4096),
    ],
)
def test_slop(content, wanted, size):
    assert size_with(content, wanted) == size


@pytest.mark.parametrize("wanted", ["x", "-1%", "%", "1.5%", "12e3", "10%10MB", "9" * 30, "99999999%+99999999%"])
def test_slop_that_is_none(wanted):
    with pytest.raises(UsageError):
        size_with(1 << 30, wanted)
