"""What the service says about itself, to whoever may ask."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from feature_repo.layout import Home
from serving.operations import Operations
from serving.releases import LoadFailure, serve_form
from tests.fakes import tiny_release


def health(home: Home, problem: str) -> dict[str, Any]:
    async def status() -> SimpleNamespace:
        return SimpleNamespace(
            is_reachable=False, circuit="open", last_failure=problem, hung_threads=0, kind="sqlite"
        )

    failure = LoadFailure("20240201-bbbbbbbb", problem, datetime(2024, 2, 1, tzinfo=UTC))
    releases: Any = SimpleNamespace(current=serve_form(tiny_release()), failure=failure)
    store: Any = SimpleNamespace(status=status)
    return asyncio.run(Operations(store, releases, "sqlite", store, home).health())


@pytest.mark.parametrize("is_link", [False, True])
def test_health_says_which_file_is_wrong_and_not_where_the_home_lies(tmp_path: Path, is_link: bool) -> None:
    home = Home(tmp_path / "shop")
    home.root.mkdir()
    if is_link:
        (tmp_path / "link").symlink_to(home.root)
        home = Home(tmp_path / "link")
    for root in (home.root, home.root.resolve()):
        answer = health(home, f"release file {root}/releases/r2/items.parquet is missing")
        told = "release file releases/r2/items.parquet is missing"
        assert answer["release"]["failed_because"] == told
        assert answer["online_store"]["last_failure"] == told
