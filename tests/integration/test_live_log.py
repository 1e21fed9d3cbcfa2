"""The live state, identities and history on both databases that may hold the event log."""

import asyncio
from pathlib import Path

import pytest
import sqlalchemy as sa

from feature_repo.landed import Span
from feature_repo.layout import Home
from feature_repo.live import LiveUser
from serving.errors import IdentityTaken
from serving.people.history import END_OF_TIME, History
from tests.fakes import FakeUserStore
from tests.live_world import run, until, worker

pytestmark = pytest.mark.integration


def items(row: LiveUser | None) -> list[str]:
    return [] if row is None else [item for item, _, _ in row.recent]


def test_workers_agree_whoever_wrote(tmp_path: Path, store_url: sa.URL) -> None:
    async def scenario() -> None:
        feast = FakeUserStore()
        async with (
            worker(tmp_path, feast, True, store_url) as one,
            worker(tmp_path, feast, True, store_url) as two,
        ):
            await asyncio.gather(
                *(each.act("anna", "click", f"item {n}") for n in range(20) for each in (one, two))
            )
            rows = [await one.row("anna"), await two.row("anna"), feast.live["anna"][1]]
            assert rows[0] == rows[1] == rows[2]
            assert rows[0] is not None and rows[0].counts == {"click": 40}

    run(scenario)


def test_a_visitor_is_joined_once_by_whoever_is_first(tmp_path: Path, store_url: sa.URL) -> None:
    async def scenario() -> None:
        feast = FakeUserStore()
        async with (
            worker(tmp_path, feast, True, store_url) as one,
            worker(tmp_path, feast, True, store_url) as two,
        ):
            await two.act("anon-1", "product_view", "mug")
            outcomes = await asyncio.gather(
                one.identities.link("anon-1", "anna"),
                two.identities.link("anon-1", "bert"),
                return_exceptions=True,
            )
            assert sum(isinstance(each, IdentityTaken) for each in outcomes) == 1
            winner = one.identities.owner("anon-1")
            await until(lambda: two.identities.owner("anon-1") == winner)
            assert items(await one.row(winner)) == items(await two.row("anon-1")) == ["mug"]

    run(scenario)


def test_a_restart_replays_and_pages_are_whole(tmp_path: Path, store_url: sa.URL) -> None:
    async def scenario() -> None:
        async with worker(tmp_path, FakeUserStore(), False, store_url) as one:
            for item in ("mug", "cup", "lamp"):
                await one.act("anna", "product_view", item)
            await one.act("anon-1", "product_view", "rug")
            await one.track({"event_type": "login", "user_id": "anna", "anonymous_id": "anon-1"})
            before = one.live.known("anna")
        async with worker(tmp_path, FakeUserStore(), False, store_url) as two:
            assert two.live.known("anna") == before
            assert items(before) == ["rug", "lamp", "cup", "mug"]
            history = History(two.database, Home(tmp_path), lambda _: False)
            seen, end, last = [], END_OF_TIME, ""
            for _ in range(3):
                past = await history.past("anna", Span(0, end, last), 2)
                seen += [event["event_type"] for event in past.events]
                end, last = past.events[-1]["event_at"], past.events[-1]["event_id"]
            assert seen == ["login", *["product_view"] * 4] and not past.is_cut
            narrowed = await history.past("anna", Span(0, END_OF_TIME, "", ("login",)), 9)
            assert len(narrowed.events) == 1
            assert await history.has_acted("anna") and not await history.has_acted("nobody")
            history.close()

    run(scenario)
