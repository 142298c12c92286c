"""Which tags are versions, and which a tool wrote for itself."""

from __future__ import annotations

import pytest

from haulout.oci import Digest, fallback_tag, is_helper_tag


@pytest.mark.parametrize(
    "tag",
    [
        "haulout.0123456789abcdef.x86_64.qemu",
        "haulout.0123456789abcdef.6907a1b2.0a1b2c3d",
        f"haulout.ref.{'0' * 32}.{'f' * 32}",
        f"sha256-{'a' * 64}",
        f"sha256-{'a' * 64}.sig",
        f"sha512-{'b' * 64}",
        fallback_tag(Digest.of(b"x")),
    ],
)
def test_a_tag_that_a_tool_wrote_for_itself(tag):
    assert is_helper_tag(tag)


@pytest.mark.parametrize(
    "tag",
    ["latest", "5.0", "haulout", "haulout.1.0", "haulout-5", "haulout.ref.1", "sha256-abc", f"v-sha256-{'a' * 64}"],
)
def test_a_tag_that_a_person_may_have_named(tag):
    assert not is_helper_tag(tag)
