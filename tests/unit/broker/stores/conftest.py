"""Databases: each test runs with SQLite, and where it is installed with PostgreSQL."""

from __future__ import annotations

import itertools

import pytest
from tests.support.brokers import stored
from tests.support.postgres import needs_postgres, postgres

NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def cluster():
    with postgres() as found:
        yield found


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=[needs_postgres, pytest.mark.tools])])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/broker.db"
    return request.getfixturevalue("cluster").database(f"test{next(NUMBERS)}")


@pytest.fixture
def store(url):
    with stored(url) as found:
        yield found
