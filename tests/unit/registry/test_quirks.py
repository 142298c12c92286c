"""What is known of particular registries."""

from __future__ import annotations

from haulout.registry.quirks import api_host, limits_for


def test_limits_are_looked_up_by_host():
    assert limits_for("ghcr.io").chunk == 4 * 1024 * 1024
    assert limits_for("1.dkr.ecr.eu-west-1.amazonaws.com").chunk >= 5 * 1024 * 1024
    assert limits_for("ghcr.io.evil.example") == limits_for("anything.example")


def test_docker_hub_serves_its_api_elsewhere():
    assert api_host("docker.io") == api_host("index.docker.io") == "registry-1.docker.io"
    assert api_host("quay.io") == "quay.io"
