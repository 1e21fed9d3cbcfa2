"""Fixtures of the integration tests."""

from __future__ import annotations

import pytest

from tests.integration.landed import Transforms


@pytest.fixture(scope="session")
def transforms(tmp_path_factory: pytest.TempPathFactory) -> Transforms:
    """The dbt project, parsed once."""
    return Transforms(tmp_path_factory.mktemp("transforms"))
