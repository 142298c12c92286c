"""Machines that start before their disk is here: the tiny image, from a docker-registry that comes and goes."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from tests.support.machines import listed, machines, processes, rootless, until
from tests.support.servers import needs

pytestmark = [pytest.mark.tools, pytest.mark.slow, pytest.mark.timeout(300)]
REF = "registry.example.com/machines:5.0"
SHAPE = "--cpus 1 --memory 256 --disk 1"


def images(place):
    return Path(place.environment["XDG_DATA_HOME"]) / "haulout/images"


def servers(place):
    return processes(rf"haulout\.lazy {images(place)}/")


def published(place):
    done = place.shell("haulout login registry.example.com -u builder --password-stdin <token >/dev/null; "
                       f"haulout copy oci:machines:5.0 {REF}")  # fmt: skip
    assert done.code == 0, done.err


@needs("docker-registry")
def test_a_machine_starts_before_its_disk_is_here(tmp_path):
    with machines(tmp_path, registry=True) as place:
        published(place)
        made = place.shell(f"haulout machine init new {REF} --lazy {SHAPE}")
        assert made.code == 0, made.err
        begun = place.haulout("machine", "start", "new", "--lazy", "--no-connect")
        assert begun.code == 0, begun.err
        print(begun.err)
        assert rootless(place, "new") == [True, False]
        until(lambda: [each for each in images(place).glob("sha256-*") if "." not in each.name], 120)


@needs("docker-registry")
def test_a_recorded_boot_is_used(tmp_path):
    with machines(tmp_path, registry=True) as place:
        published(place)
        assert place.shell(f"haulout machine init web {REF} {SHAPE}").code == 0
        done = place.haulout("machine", "record", "web", "--push", "--json")
        assert done.code == 0, done.err
        print(time.monotonic(), done.out, done.err, flush=True)
        assert place.haulout("machine", "rm", "web", "--data").code == 0
        done = place.shell(f"haulout run --ephemeral --lazy {REF} -- uname -r")
        print(time.monotonic(), done.out, done.err, flush=True)
        assert done.code == 0
