"""The templates for CI are run as their systems would: each step by bash, with the variables they set."""

from __future__ import annotations

import json
import re
import tomllib

import pytest
import yaml
from tests.support.sandbox import CREDENTIALS, ROOT, raw_disk, sandbox
from tests.support.servers import needs

import haulout

pytestmark = [pytest.mark.tools, needs("docker-registry", "qemu-img", "jq")]
FOLDER = ROOT / "docs/ci"
VERSIONS = [f"v1.{number}" for number in range(8, 14)]
KINDS = {(architecture, kind) for architecture in ("x86_64", "aarch64") for kind in ("applehv", "qemu", "hyperv")}


@pytest.fixture
def place(tmp_path):
    with sandbox(tmp_path) as made:
        build = made.path / "build.sh"
        # What changes from version to version is the version.
        build.write_text(
            "#!/bin/sh -e\nfor arch in x86_64 aarch64; do cp disk.raw disk-$arch.raw\n"
            'printf %s "$THIS" | dd of=disk-$arch.raw bs=1 seek=1048576 conv=notrunc status=none; done\n'
        )
        build.chmod(0o755)
        yield made


def read(name):
    text = (FOLDER / name).read_text()
    extra = re.search(r"pip\"? install --quiet 'haulout\[(\w+)\]'", text)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert extra, "it installs haulout"
    assert extra[1] in project["optional-dependencies"]
    return yaml.safe_load(text)


def run(place, steps, environment):
    """Run steps in one bash, as the systems do: end at the first that fails."""
    done = place.shell("\n".join(["set -eo pipefail", *steps]), **environment)
    assert done.code == 0, done.out + done.err
    return done.out


def older(place, repository, monkeypatch):
    """The versions before the last, of one disk each."""
    for name in ("REGISTRY_AUTH_FILE", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, place.environment[name])
    for number, version in enumerate(VERSIONS[:-1]):
        haulout.push(
            f"{repository}:{version}", raw_disk(place.path / "older.raw", number), architecture="x86_64", use_base=False
        )


def check(place, repository, printed):
    """Five versions, each with six disks; the newest is also the latest, and pulls."""
    listed = place.haulout("tags", repository, "--json").json
    assert [version["tag"] for version in listed["tags"] if version["tag"] != "latest"] == VERSIONS[:0:-1]
    pushed = json.loads((place.path / "pushed.json").read_text())
    assert {(disk["architecture"], disk["disk_type"]) for disk in pushed["disks"]} == KINDS
    for architecture, kind in KINDS:
        assert f"{architecture}/{kind}" in printed
    assert VERSIONS[-1] in printed
    stated = place.haulout("inspect", f"{repository}:latest", "--json").json["root"]["annotations"]
    assert {key.rpartition(".")[2]: value for key, value in stated.items() if key.startswith("org.opencontainers")} == {
        "source": "https://git.example.com/owner/name",
        "revision": "0" * 40,
        "version": VERSIONS[-1],
    }
    newest = place.haulout("resolve", f"{repository}:{VERSIONS[-1]}").out
    assert place.haulout("resolve", f"{repository}:latest").out == newest
    assert place.haulout("resolve", f"{repository}:{VERSIONS[1]}").code == 0
    assert place.haulout("pull", f"{repository}:latest", "--type", "applehv", "-o", "pulled.raw").code == 0
    assert (place.path / "pulled.raw").read_bytes() == (place.path / "disk-x86_64.raw").read_bytes()


def test_github_actions(place, monkeypatch):
    template = read("github-actions.yml")
    assert template[True] == {"push": {"tags": ["v*"]}}  # YAML 1.1 takes "on" for true
    (job,) = template["jobs"].values()
    known = {
        "github.actor": CREDENTIALS[0],
        "secrets.GITHUB_TOKEN": CREDENTIALS[1],
        "github.repository": "owner/name",
        "github.server_url": "https://git.example.com",
        "github.sha": "0" * 40,
        "github.ref_name": VERSIONS[-1],
    }

    def filled(variables):
        return {
            key: re.sub(r"\$\{\{ (.*?) \}\}", lambda found: known[found[1]], value).replace("ghcr.io", place.host)
            for key, value in variables.items()
        }

    shared = filled(template["env"]) | {"THIS": VERSIONS[-1], "GITHUB_STEP_SUMMARY": "summary.md"}
    older(place, shared["REPOSITORY"], monkeypatch)
    printed = ""
    for step in job["steps"]:
        # Contexts in a script would be pasted into it unquoted: they come by the environment only.
        assert "${{" not in step.get("run", "")
        assert step.get("if") in {None, "env.REGISTRY != 'ghcr.io'"}
        if "run" in step and step["name"] != "Install":
            printed += run(place, [step["run"]], shared | filled(step.get("env", {})))
    check(place, shared["REPOSITORY"], printed)
    assert "| x86_64/qemu |" in (place.path / "summary.md").read_text()


def test_gitlab_ci(place, monkeypatch):
    (job,) = read("gitlab-ci.yml").values()
    known = {
        "CI_COMMIT_TAG": VERSIONS[-1],
        "CI_COMMIT_SHA": "0" * 40,
        "CI_PROJECT_URL": "https://git.example.com/owner/name",
        "CI_REGISTRY": place.host,
        "CI_REGISTRY_IMAGE": f"{place.host}/owner/name",
        "CI_REGISTRY_USER": CREDENTIALS[0],
        "CI_REGISTRY_PASSWORD": CREDENTIALS[1],
        "THIS": VERSIONS[-1],
    }
    for key, value in job["variables"].items():
        known[key] = re.sub(r"\$(\w+)", lambda found: known[found[1]], value)
    older(place, known["REPOSITORY"], monkeypatch)
    check(place, known["REPOSITORY"], run(place, job["script"], known))


def test_every_template_is_tested():
    assert {path.name for path in FOLDER.glob("*.yml")} == {"github-actions.yml", "gitlab-ci.yml"}
