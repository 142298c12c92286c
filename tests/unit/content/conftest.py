"""Every store that the contract is run over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from haulout.content.layout import LayoutStore
from haulout.content.memory import MemoryStore

if TYPE_CHECKING:
    from haulout.content.ports import Store


@pytest.fixture(params=["memory", "layout"])
def store(request, tmp_path):
    place: Store = MemoryStore() if request.param == "memory" else LayoutStore(str(tmp_path / "l"), create=True)
    with place:
        yield place
