"""Lists are linked page by page."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haulout.registry.pages import next_link


@pytest.mark.parametrize(
    ("header", "target"),
    [
        ('</v2/a/tags/list?n=2&last=b>; rel="next"', "/v2/a/tags/list?n=2&last=b"),
        ("</x>; rel=next", "/x"),
        ('</p>; rel="prev", </n>; rel="next"', "/n"),
        ('</a,b>; title="x, y"; rel="next"', "/a,b"),
        ('</p>; rel="previous"', None),
        ("", None),
        ("nonsense", None),
    ],
)
def test_the_next_page_is_found(header, target):
    assert next_link(header) == target


@given(st.text(max_size=300))
def test_any_link_header_is_borne(text):
    assert next_link(text) is None or isinstance(next_link(text), str)
