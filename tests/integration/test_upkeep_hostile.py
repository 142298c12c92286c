"""Pruning registries that differ: entries held by their index, tags that outlive manifests, failures at any step."""

from __future__ import annotations

import json

import pytest
from tests.support.disks import raw_disk
from tests.support.simulators.registry import Response, SimulatedRegistry

import haulout
from haulout.errors import ConflictError, DeletionRefused, DeniedError, RegistryError
from haulout.oci import is_helper_tag

pytestmark = pytest.mark.usefixtures("own_places")
VERSIONS = ("1.1", "1.2", "1.3")


@pytest.fixture(scope="module")
def disks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("disks")
    return [raw_disk(folder / f"{version}.raw", data_mib=1, size_mib=2, seed=version) for version in VERSIONS]


@pytest.fixture(params=[True, False], ids=["referrers API", "fallback tags"])
def registry(request):
    with SimulatedRegistry(referrers_api=request.param) as made:
        yield made


def publish(registry, disks):
    place = f"{registry.host}/machines"
    for number, version in enumerate(VERSIONS):
        earlier = [f"{place}:{VERSIONS[number - 1]}"] if number else []
        haulout.push(f"{place}:{version}", disks[number], architecture="x86_64", delta_from=earlier)
    return place


def deletes(registry):
    return [request for request in registry.seen("DELETE") if "0" * 64 not in request.path]


def left(registry):
    """Return the disks that are left, and the deltas."""
    kinds = [json.loads(data).get("artifactType", "") for _, data in registry.manifests.values()]
    return sum("disk.v1" in kind for kind in kinds), sum("delta.v1" in kind for kind in kinds)


def test_what_is_attached_goes_with_its_disk(registry, disks):
    place = publish(registry, disks)
    assert left(registry) == (3, 2)
    haulout.prune(place, keep=1)
    # The delta from 1.2 is attached to 1.3 and stays.
    assert left(registry) == (1, 1)
    names = [tag for _, tag in registry.tags]
    assert [tag for tag in names if not is_helper_tag(tag)] == ["1.3"]
    assert sum(tag.startswith("sha256-") for tag in names) == (0 if registry.referrers_api else 1)
    haulout.prune(place, keep=1)
    assert left(registry) == (1, 1)


def test_where_an_index_holds_its_entries_it_goes_first(registry, disks):
    """ECR (ImageReferencedByManifestList) and Artifact Registry refuse to delete an entry before its index."""
    place = publish(registry, disks)

    def held(request):
        if request.method != "DELETE":
            return None
        digest = request.path.rpartition("/")[2]
        for _, data in registry.manifests.values():
            if any(entry["digest"] == digest for entry in json.loads(data).get("manifests", [])):
                error = {"errors": [{"code": "DENIED", "message": "referenced by a manifest list"}]}
                return Response(409, {"Content-Type": "application/json"}, json.dumps(error).encode())
        return None

    registry.before = held
    if not registry.referrers_api:
        pytest.skip("such registries have the API")
    haulout.prune(place, keep=1)
    assert left(registry) == (1, 1)


def test_a_tag_that_outlives_its_manifest_is_deleted_as_well(registry, disks):
    place = publish(registry, disks)
    kept_back: dict[tuple[str, str], str] = {}

    def sticky(request):
        if request.method != "DELETE":
            return None
        tag = ("machines", request.path.rpartition("/")[2])
        if tag in registry.tags:
            kept_back.pop(tag, None)
            del registry.tags[tag]
            return Response(202)
        if "sha256:" in request.path:
            tags = dict(registry.tags)
            answer = registry.answer(request)
            kept_back.update({key: digest for key, digest in tags.items() if key not in registry.tags})
            registry.tags.update(kept_back)
            return answer
        return None

    registry.before = sticky
    haulout.prune(place, keep=1)
    assert [tag for _, tag in registry.tags if not is_helper_tag(tag)] == ["1.3"]


@pytest.mark.parametrize("allowed", [0, 1, 3, 5])
def test_broken_off_at_any_step_the_next_one_finishes_and_what_stays_is_whole(registry, disks, allowed, tmp_path):
    place = publish(registry, disks)
    count = [0]

    def failing(request):
        if request.method == "DELETE" and "0" * 64 not in request.path:
            count[0] += 1
            if count[0] > allowed:
                return Response(403)
        return None

    registry.before = failing
    with pytest.raises(DeniedError):
        haulout.prune(place, keep=1)
    registry.before = None
    haulout.pull(f"{place}:1.3", output=tmp_path / "x", architecture="x86_64", disk_type="applehv")
    haulout.prune(place, keep=1)
    assert left(registry) == (1, 1)


@pytest.mark.parametrize("status", [400, 405, 501, 404, 200])
def test_a_registry_that_does_not_delete_is_asked_once_and_nothing_changes(registry, disks, status):
    place = publish(registry, disks)
    registry.before = lambda request: Response(status) if request.method == "DELETE" else None
    before = (dict(registry.tags), dict(registry.manifests))
    with pytest.raises(DeletionRefused) as caught:
        haulout.prune(place, keep=1)
    assert "does not delete" in str(caught.value)
    assert (registry.tags, registry.manifests) == before


@pytest.mark.parametrize("tag", ["1.1", "1.3", "2.0"])
def test_a_tag_written_meanwhile_stops_it_before_anything_goes(registry, disks, tag):
    place = publish(registry, disks)

    def moves(request):
        if request.method == "DELETE":
            registry.tags["machines", tag] = registry.tags["machines", "1.2"]

    registry.before = moves
    manifests = dict(registry.manifests)
    with pytest.raises(ConflictError, match=f"written meanwhile \\({tag}\\); nothing was deleted"):
        haulout.prune(place, keep=1)
    assert registry.manifests == manifests


def test_a_manifest_of_a_kept_tag_that_cannot_be_read_stops_it(registry, disks):
    place = publish(registry, disks)
    digest = registry.tags["machines", "1.3"]
    registry.manifests["machines", digest] = (registry.manifests["machines", digest][0], b'{"schemaVersion": 7}')
    before = len(registry.manifests)
    with pytest.raises((RegistryError, haulout.ContentError)):
        haulout.prune(place, keep=1)
    assert len(registry.manifests) == before
    assert deletes(registry) == [] or all("haulout." not in request.path for request in deletes(registry))


def test_helper_tags_of_older_releases_go_with_what_they_are_about(registry, disks):
    """As release 0.2 left them: announcements of entries and of referrers."""
    place = publish(registry, disks)
    for number, version in enumerate(VERSIONS):
        digest = registry.tags["machines", version]
        entry = json.loads(registry.manifests["machines", digest][1])["manifests"][0]
        intent = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "artifactType": "application/vnd.io.github.haulout.intent.v1",
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": f"sha256:{'4' * 64}", "size": 2},
            "layers": [],
            "annotations": {
                "org.opencontainers.image.created": "2026-01-01T00:00:00.000000+00:00",
                "io.github.haulout.intent.tag": version,
                "io.github.haulout.intent.entry": json.dumps(entry),
            },
        }
        tag = f"haulout.{number:016x}.x86_64.applehv"
        registry.add_manifest("machines", json.dumps(intent).encode(), intent["mediaType"], tag)
        registry.tags["machines", f"haulout.ref.{'a' * 32}.{number:032x}"] = next(
            found
            for (_, found), (_, data) in registry.manifests.items()
            if json.loads(data).get("subject") or number == 0
        )
    haulout.prune(place, keep=1)
    helpers = [tag for _, tag in registry.tags if tag.startswith("haulout.")]
    assert [tag for tag in helpers if "ref" not in tag] == []
    assert left(registry) == (1, 1)
