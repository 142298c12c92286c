"""A call in the background: what it returns and what it raises arrive where they are asked for."""

from __future__ import annotations

import threading

import pytest

from haulout.fetch.background import BackgroundCall


def test_its_result_is_waited_for():
    gate = threading.Event()
    call = BackgroundCall(lambda: gate.wait(10), "test")
    gate.set()
    assert call.result() is True
    assert call.result() is True


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_it_raises_is_raised_where_it_is_asked_for(error):
    def work():
        raise error("from the thread")

    with pytest.raises(error, match="from the thread"):
        BackgroundCall(work, "test").result()
