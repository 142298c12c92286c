"""What a supervisor does for itself."""

from __future__ import annotations

import resource

from haulout.machine.supervisor import allow_many_descriptors


def test_it_may_have_more_files_open_than_the_usual_thousand():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        allow_many_descriptors()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (min(hard, 1 << 14), hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
