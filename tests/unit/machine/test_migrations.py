"""Older machine files: one of each version that was written is kept in ``golden``, and read for ever."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.machine.test_model import MACHINE, read

from haulout.errors import InvalidFile
from haulout.machine import SCHEMA, Forward, Machines, Update, model, store

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("version", range(1, SCHEMA + 1))
def test_a_file_of_each_version_is_read(version):
    text = (GOLDEN / f"machine-v{version}.json").read_bytes()
    assert json.loads(text)["schema"] == version
    machine = read(text)
    for member in ("id", "created", "image", "resources", "accelerator", "firmware", "mounts", "sockets"):
        assert getattr(machine, member) == getattr(MACHINE, member)
    assert (machine.forwards, machine.ca) == ((Forward(8080, 80),), ("host",))
    assert machine.update == (MACHINE.update if version > 1 else Update())


def test_a_file_without_what_may_be_left_out_has_the_defaults():
    document = json.loads((GOLDEN / "machine-v1.json").read_bytes())
    required = json.loads((Path(__file__).resolve().parents[3] / "docs/machine.schema.json").read_text())["required"]
    machine = read({key: document[key] for key in required})
    assert (machine.name, machine.mounts, machine.ephemeral) == ("web", (), False)


@pytest.fixture
def of_tomorrow(monkeypatch):
    """A haulout whose machine file is of the next version: it calls ``cpus`` otherwise."""

    def renamed(document):
        resources = dict(document["resources"])
        resources["cpus"] = resources.pop("processors")
        return document | {"schema": SCHEMA + 1, "resources": resources}

    def write(machine):
        return json.dumps(machine.to_dict() | {"schema": SCHEMA + 1})

    monkeypatch.setattr(model, "MIGRATIONS", (*model.MIGRATIONS, renamed))
    for module in (model, store):
        monkeypatch.setattr(module, "SCHEMA", SCHEMA + 1)
    monkeypatch.setattr(model.Machine, "to_json", write)


def test_a_file_of_the_first_version_is_kept_when_it_is_written(tmp_path):
    place = Machines(tmp_path, tmp_path, tmp_path).place("web")
    place.folder.mkdir(parents=True)
    text = (GOLDEN / "machine-v1.json").read_bytes()
    place.file("machine.json").write_bytes(text)
    place.save(place.load())
    assert place.file("machine.json.v1").read_bytes() == text
    assert json.loads(place.file("machine.json").read_bytes())["schema"] == 2


def older():
    document = MACHINE.to_dict()
    resources = dict(document["resources"])
    return document | {"resources": {"processors": resources.pop("cpus"), **resources}}


def test_an_older_file_is_migrated_and_kept_when_it_is_written(of_tomorrow, tmp_path):
    place = Machines(tmp_path, tmp_path, tmp_path).place("web")
    place.folder.mkdir(parents=True)
    text = json.dumps(older())
    place.file("machine.json").write_text(text)
    machine = place.load()
    assert machine.resources == MACHINE.resources
    assert place.file("machine.json").read_text() == text, "reading changes nothing, so that an older haulout still can"
    place.save(machine.changed(cpus=3))
    assert place.load().resources.cpus == 3
    backup = place.file(f"machine.json.v{SCHEMA}")
    assert backup.read_text() == text
    place.save(machine)
    assert backup.read_text() == text


@pytest.mark.parametrize("resources", [None, [], "x", {}, {"processors": 0}])
def test_an_older_file_that_is_damaged_is_an_error_of_one_line(of_tomorrow, resources):
    with pytest.raises(InvalidFile) as caught:
        read(older() | {"resources": resources})
    assert "\n" not in str(caught.value)
