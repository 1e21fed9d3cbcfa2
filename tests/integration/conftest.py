"""Fixtures of the integration tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from feature_repo.event_log import operational_url
from feature_repo.layout import Home
from tests.integration.landed import Transforms
from tests.integration.small_shop import Shop, small_shop
from tests.servers import PostgresServer


@pytest.fixture(scope="session")
def transforms(tmp_path_factory: pytest.TempPathFactory) -> Transforms:
    """The dbt project, parsed once."""
    return Transforms(tmp_path_factory.mktemp("transforms"))


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A shop that was run on once; all processes of the test run share it, so nobody changes it."""
    base = tmp_path_factory.getbasetemp()
    return small_shop((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "small-shop")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One PostgreSQL for all tests of a session, each in a database of its own."""
    yield from _running_postgres()


@pytest.fixture(scope="module")
def fragile_postgres() -> Iterator[PostgresServer]:
    """Another one, to hang and to crash; whoever stops it starts it again."""
    yield from _running_postgres()


def _running_postgres() -> Iterator[PostgresServer]:
    if not PostgresServer.is_installed():
        pytest.skip("no PostgreSQL is installed: apt-get install postgresql")
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.end()


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.URL]:
    """An operational store that is empty, in each of the databases that we support."""
    if request.param == "sqlite":
        yield operational_url(Home(tmp_path))
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    url = server.new_database()
    yield url
    server.drop_database(url)
