"""The table of emulators."""

from __future__ import annotations

from tests.support.emulation import MADE

from haulout.emulator import PLATFORMS
from haulout.tee import KINDS


def test_every_kind_has_its_emulator_under_its_name():
    # A TPM needs no emulator of ours: swtpm is one.
    assert set(PLATFORMS) == {kind.name for kind in KINDS} - {"tpm"} == set(MADE)
