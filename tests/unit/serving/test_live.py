"""The live state: read your own writes, push, refill, replay, swap, join, forget."""

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from feature_repo.live import SECOND, LiveUser
from serving.errors import IdentityTaken
from serving.releases import serve_form
from tests.fakes import FakeUserStore, tiny_release
from tests.live_world import run, until, worker


def items(row: LiveUser | None) -> list[str]:
    return [] if row is None else [item for item, _, _ in row.recent]


def release_until(day: date, created_at: datetime | None = None) -> Any:
    """The tiny release with another end of its data."""
    release = tiny_release()
    manifest = replace(release.manifest, data_until=day, created_at=created_at or release.manifest.created_at)
    return serve_form(replace(release, manifest=manifest))


def test_an_event_is_known_when_it_is_acknowledged(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with worker(tmp_path, FakeUserStore()) as one:
            assert one.live.known("anna") is None
            await one.act("anna", "product_view", "mug")
            await one.act("anna", "add_to_cart", "lamp")
            row = one.live.known("anna")
            assert items(row) == ["lamp", "mug"]
            assert row is not None and row.counts == {"add_to_cart": 1, "product_view": 1}
            assert row.categories == ("light", "kitchen")
            assert row.engagement_score > 0 and row.significance == 0.9
            assert await one.row("anna") == row

    run(scenario)


def test_rows_are_pushed_within_a_second_with_the_instant_of_the_log(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = FakeUserStore()
        async with worker(tmp_path, store) as one:
            await one.act("anna", "product_view", "mug")
            assert await until(lambda: "anna" in store.live) < 1
            at, pushed = store.live["anna"]
            assert pushed == one.live.known("anna")
            await one.act("anna", "product_view", "cup")
            await until(lambda: items(store.live["anna"][1]) == ["cup", "mug"])
            assert store.live["anna"][0] > at

    run(scenario)


def test_a_push_that_fails_is_counted_and_repeated(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = FakeUserStore()
        async with worker(tmp_path, store) as one:
            store.error = ConnectionError("the online store is away")
            await one.act("anna", "product_view", "mug")
            failures = one.metrics.live_push_failures
            await until(lambda: failures._value.get() > 0)
            assert items(one.live.known("anna")) == ["mug"], "memory knows all the same"
            store.recover()
            await until(lambda: "anna" in store.live)

    run(scenario)


def test_a_restart_replays_the_log(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = FakeUserStore()
        async with worker(tmp_path, store) as one:
            await one.act("anna", "product_view", "mug")
            await one.act("anon-1", "product_view", "lamp")
            before = one.live.known("anna")
        fresh = FakeUserStore()
        async with worker(tmp_path, fresh) as two:
            assert two.live.known("anna") == before
            assert items(two.live.known("anon-1")) == ["lamp"]
            await until(lambda: {"anna", "anon-1"} <= fresh.live.keys())

    run(scenario)


def test_visitors_beyond_the_bound_are_read_from_feast_and_completed_from_the_log(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = FakeUserStore()
        async with worker(tmp_path, store, max_visitors=2) as one:
            for name in ("anna", "bert", "carl"):
                await one.act(name, "product_view", "mug")
            await until(lambda: len(store.live) == 3)
            await one.act("dora", "product_view", "mug")
            assert one.live.known("anna") is None, "dropped, for she was away longest"
            assert items(await one.row("anna")) == ["mug"], "from Feast"
            store.error = ConnectionError("gone")
            assert items(await one.row("anna")) == ["mug"], "from the log"
            store.recover()
            await one.act("anna", "product_view", "cup")
            assert items(await one.row("anna")) == ["cup", "mug"]

    run(scenario)


def test_a_replay_that_is_cut_short_is_completed_when_somebody_asks(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with worker(tmp_path, FakeUserStore()) as one:
            for item in ("mug", "cup", "lamp"):
                await one.act("anna", "product_view", item)
        async with worker(tmp_path, FakeUserStore(), replay_events=1) as two:
            two.live._is_complete = False
            two.live._drop(["anna"])
            await two.act("anna", "product_view", "rug")
            assert items(await two.row("anna")) == ["rug", "lamp", "cup", "mug"]
            assert await two.row("nobody") is None

    run(scenario)


def test_a_new_release_restarts_the_counters_at_the_end_of_its_data(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = FakeUserStore()
        async with worker(tmp_path, store) as one:
            old = datetime(2024, 2, 2, 12, tzinfo=UTC)
            await one.act("anna", "product_view", "mug", event_at=old.isoformat())
            await one.act("anna", "product_view", "lamp")
            row = one.live.known("anna")
            assert row is not None and row.counts == {"product_view": 2}
            now = datetime.now(UTC)
            one.releases.current = release_until(date(2024, 2, 10), now)
            row = one.live.known("anna")
            assert row is not None and row.counts == {"product_view": 1}
            assert items(row) == ["lamp"], "the batch has the mug"
            assert row.counts_since == int(datetime(2024, 2, 11, tzinfo=UTC).timestamp()) * SECOND
            await until(lambda: store.live.get("anna", (0, None))[1] == row)

    run(scenario)


def test_significant_acts_are_told_at_once_and_others_are_not(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with worker(tmp_path, FakeUserStore()) as one:
            told: list[str] = []
            one.live.add_significant_listener(told.append)
            await one.act("anna", "product_view", "mug")
            await one.act("anna", "email_open")
            assert told == []
            await one.act("anna", "add_to_cart", "mug")
            await one.act("bert", "purchase", "mug", quantity=1, price=4.0)
            await one.act("carl", "search", query="lamps", context={"category": "light"})
            await one.act("dora", "behavior_detected", context={"significance_score": 0.81})
            await one.act("emil", "behavior_detected", context={"significance_score": 0.8})
            assert told == ["anna", "bert", "carl", "dora"]

    run(scenario)


def test_an_anonymous_history_joins_the_customer_at_once_and_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = FakeUserStore()
        async with worker(tmp_path, store) as one:
            await one.act("anon-1", "product_view", "mug")
            await one.act("anna", "product_view", "lamp")
            link = await one.identities.link("anon-1", "anna")
            assert link.is_new
            assert items(one.live.known("anna")) == ["lamp", "mug"]
            assert one.live.known("anon-1") == one.live.known("anna")
            assert not (await one.identities.link("anon-1", "anna")).is_new
            row = one.live.known("anna")
            assert row is not None and row.counts == {"product_view": 2}
            await one.act("anon-1", "product_view", "cup")
            assert items(await one.row("anna")) == ["cup", "lamp", "mug"], "later visits of the browser too"
            await until(lambda: items(store.live.get("anna", (0, None))[1]) == ["cup", "lamp", "mug"])
        async with worker(tmp_path, FakeUserStore()) as two:
            assert items(two.live.known("anna")) == ["cup", "lamp", "mug"], "and after a restart"

    run(scenario)


def test_a_second_customer_cannot_take_a_joined_visitor(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with worker(tmp_path, FakeUserStore()) as one:
            await one.identities.link("anon-1", "anna")
            with pytest.raises(IdentityTaken, match="new anonymous id when somebody signs out") as caught:
                await one.identities.link("anon-1", "bert")
            assert "anna" not in str(caught.value)
            row = {
                "event_type": "product_view",
                "item_id": "pot",
                "user_id": "bert",
                "anonymous_id": "anon-1",
            }
            await one.track(row)
            assert items(one.live.known("bert")) == ["pot"], "an act counts for whom it names"
            assert one.live.known("anna") is None
            assert one.identities.owner("anon-1") == "anna"

    run(scenario)


def test_an_event_that_carries_both_ids_joins_them(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with worker(tmp_path, FakeUserStore()) as one:
            await one.act("anon-1", "product_view", "mug")
            await one.track({"event_type": "login", "user_id": "anna", "anonymous_id": "anon-1"})
            assert items(one.live.known("anna")) == ["mug"]
        async with worker(tmp_path, FakeUserStore()) as two:
            assert two.identities.owner("anon-1") == "anna"
            assert await two.identities.anonymous_ids("anna") == ["anon-1"]

    run(scenario)


def test_workers_that_share_a_log_agree(tmp_path: Path) -> None:
    """Two processes write events of one customer; both read the whole, and so does Feast."""

    async def scenario() -> None:
        store = FakeUserStore()
        async with worker(tmp_path, store, True) as one, worker(tmp_path, store, True) as two:
            await one.act("anna", "product_view", "mug")
            await two.act("anna", "product_view", "lamp")
            assert items(await one.row("anna")) == ["lamp", "mug"]
            assert items(await two.row("anna")) == ["lamp", "mug"]
            await asyncio.gather(
                *(each.act("anna", "click", f"item {n}") for n in range(20) for each in (one, two))
            )
            rows = [await one.row("anna"), await two.row("anna"), store.live["anna"][1]]
            assert rows[0] == rows[1] == rows[2]
            assert rows[0] is not None and rows[0].counts == {"click": 40, "product_view": 2}
            assert one.live.known("anna") is None, "memory only bridges the time until the push"

    run(scenario)


def test_workers_that_share_a_log_follow_each_others_links(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = FakeUserStore()
        async with worker(tmp_path, store, True) as one, worker(tmp_path, store, True) as two:
            await two.act("anon-1", "product_view", "mug")
            await one.identities.link("anon-1", "anna")
            await until(lambda: two.identities.owner("anon-1") == "anna")
            await until(lambda: "anna" in store.live)
            assert items(await two.row("anon-1")) == ["mug"]
            assert items(await one.row("anna")) == ["mug"]

    run(scenario)


def test_with_a_silent_online_store_shared_workers_read_the_log(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = FakeUserStore()
        async with worker(tmp_path, store, True) as one, worker(tmp_path, store, True) as two:
            await one.act("anna", "product_view", "mug")
            store.error = ConnectionError("gone")
            assert items(await two.row("anna")) == ["mug"]
            store.recover()

    run(scenario)


def test_what_a_killed_worker_could_not_push_is_pushed_by_the_next(tmp_path: Path) -> None:
    async def scenario() -> None:
        broken, store = FakeUserStore(), FakeUserStore()
        broken.error = ConnectionError("gone")
        async with worker(tmp_path, broken, True) as one:
            await one.act("anna", "product_view", "mug")
        async with worker(tmp_path, store, True):
            await until(lambda: items(store.live.get("anna", (0, None))[1]) == ["mug"])

    run(scenario)


def test_an_erased_visitor_is_in_no_memory_and_in_no_later_push(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = FakeUserStore()
        async with worker(tmp_path, store) as one:
            await one.act("anna", "product_view", "mug")
            one.live.forget(lambda visitor: visitor == "anna")
            assert one.live.known("anna") is None
            await one.act("bert", "product_view", "mug")
            await until(lambda: "bert" in store.live)
            assert "anna" not in store.live

    run(scenario)


def test_a_row_that_was_on_its_way_when_its_visitor_was_erased_is_deleted(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = FakeUserStore()
        async with worker(tmp_path, store) as one:
            store.hang()
            await one.act("anna", "product_view", "mug")
            await until(lambda: "anna" in one.live._flying)
            one.live.forget(lambda visitor: visitor == "anna")
            store.recover()
            await until(lambda: not one.live._flying)
            assert "anna" not in store.live and not one.live._erased

    run(scenario)


def test_the_links_of_an_erased_customer_are_dropped(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with worker(tmp_path, FakeUserStore()) as one:
            await one.identities.link("anon-1", "anna")
            await one.identities.link("anon-2", "bert")
            one.identities.forget(lambda visitor: visitor == "anna")
            await until(lambda: one.identities.owner("anon-1") == "anon-1")
            assert one.identities.owner("anon-2") == "bert"

    run(scenario)
