"""What goes into a build besides the plan: layers held for a second reading, and the passphrase."""

from __future__ import annotations

import io
import os
import resource
import tarfile

import pytest
from tests.support.workloads import container_of, stored

from haulout.errors import DeniedError, RegistryError, StorageError, UnreachableError
from haulout.progress import NullProgress
from haulout.workload import source
from haulout.workload.passphrase import keep_passphrase


def test_a_layer_that_is_held_in_part_is_no_damaged_layer():
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        info = tarfile.TarInfo("file")
        info.size = 100_000
        tar.addfile(info, io.BytesIO(os.urandom(info.size)))
    store = container_of(archive.getvalue())
    # The kernel takes the first bytes of a write, as on a disk that fills up, and refuses the next.
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with (
            pytest.raises(StorageError, match="cannot hold a layer"),
            source.root_of_image(stored(store), "amd64", NullProgress(), hold=True),
        ):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize(
    ("failure", "stays"),
    [
        (UnreachableError("no answer"), True),
        (RegistryError("bad gateway", status=502), True),
        (RegistryError("not the protocol"), True),
        (KeyboardInterrupt(), True),
        (RegistryError("no such upload", status=404), False),
        (DeniedError("not here"), False),
        (StorageError("x", "the file system is full"), False),
    ],
)
def test_a_key_is_taken_away_only_if_nothing_can_be_locked_with_it(tmp_path, failure, stays):
    # Where no answer came, the registry may have taken the manifest: its image would be lost without the key.

    def fail_behind():
        with keep_passphrase(tmp_path / "key", b"pass") as place:
            place()
            raise failure

    with pytest.raises(type(failure)):
        fail_behind()
    assert (tmp_path / "key").exists() == stays
