"""Tracking into the event log, on SQLite and on a real PostgreSQL: once, durable, in order, allowed."""

import asyncio
import json
import re
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
import sqlalchemy as sa

from feature_repo.event_log import events, open_engine
from serving.errors import StoreUnavailable
from serving.metrics import Metrics
from serving.people.permissions import Permissions, Signals
from serving.store.database import Database
from serving.tracking import CONFLICT, EventIds, LoggedEvent, Outcome, Tracker, row_of

pytestmark = pytest.mark.integration

NO_SIGNALS = Signals()
VIEW = {"user_id": "anna", "event_type": "product_view", "item_id": "mug"}
Scenario = Callable[[Tracker, Database], Awaitable[None]]


def allow_all(_: str | None, __: Signals) -> Permissions:
    return Permissions()


def run(
    url: sa.URL,
    scenario: Scenario,
    permissions: Callable[[str | None, Signals], Permissions] = allow_all,
    switched_off: str = "",
    clock: Callable[[], int] = time.time_ns,
) -> Metrics:
    """Run a scenario with a tracker over an open store; its metrics."""
    metrics = Metrics()

    async def opened() -> None:
        database = Database.open(url, metrics, deadline_seconds=5.0, probe_seconds=0.05)
        tracker = Tracker(database, permissions, metrics, lambda flag: flag != switched_off, clock)
        try:
            await scenario(tracker, database)
        finally:
            await database.close()

    asyncio.run(opened())
    return metrics


async def track(tracker: Tracker, *rows: dict[str, Any], signals: Signals = NO_SIGNALS) -> list[Outcome]:
    return await tracker.track([VIEW | row for row in rows], signals, "/test")


async def logged(database: Database) -> list[dict[str, Any]]:
    """Every row of the log, in its order."""

    def query(connection: sa.Connection) -> list[dict[str, Any]]:
        rows = connection.execute(sa.select(events).order_by(events.c.sequence))
        return [dict(row) for row in rows.mappings()]

    return await database.read(query)


def statuses(outcomes: Sequence[Outcome]) -> list[str]:
    return [outcome.status for outcome in outcomes]


def test_an_accepted_event_is_in_the_log(store_url: sa.URL) -> None:
    before = time.time_ns() // 1000

    async def scenario(tracker: Tracker, database: Database) -> None:
        given = {"event_at": "2026-01-31T10:30:00Z", "anonymous_id": "a1", "context": {"z": 1, "a": 2}}
        [outcome] = await track(tracker, given)
        [row] = await logged(database)
        assert outcome == Outcome(row["event_id"], "accepted")
        received_at = row.pop("received_at")
        assert before <= received_at <= time.time_ns() // 1000
        assert row == {
            "sequence": 1,
            "event_id": outcome.event_id,
            "event_type": "product_view",
            "user_id": "anna",
            "anonymous_id": "a1",
            "event_at": 1_769_855_400_000_000,
            "body": '{"channel":"web","context":{"a":2,"z":1},"item_id":"mug"}',
        }

    run(store_url, scenario)


@pytest.mark.parametrize(
    "text", ["a\x00b", "'; DROP TABLE events; --", "100 % %s", "\\u0000 \\", "😀 日本 \u202e", '"{}"']
)
def test_any_text_is_kept_as_it_is(store_url: sa.URL, text: str) -> None:
    async def scenario(tracker: Tracker, database: Database) -> None:
        item_id = text.replace("\x00", "-")
        given = {"event_id": item_id, "user_id": item_id, "item_id": item_id, "context": {"text": text}}
        for status in ("accepted", "duplicate"):
            assert statuses(await track(tracker, given)) == [status]
        [row] = await logged(database)
        assert (row["event_id"], row["user_id"]) == (item_id, item_id)
        body = json.loads(row["body"])
        assert (body["item_id"], body["context"]) == (item_id, {"text": text})

    run(store_url, scenario)


def test_an_event_sent_again_counts_once_and_answers_the_same(store_url: sa.URL) -> None:
    async def scenario(tracker: Tracker, database: Database) -> None:
        first = await track(tracker, {"event_id": "e1"})
        again = await track(tracker, {"event_id": "e1", "event_type": "VIEW"})
        assert (statuses(first), statuses(again)) == (["accepted"], ["duplicate"])
        assert first[0].event_id == again[0].event_id == "e1"
        assert len(await logged(database)) == 1

    run(store_url, scenario)


def test_an_instant_that_was_left_out_does_not_make_a_retry_differ(store_url: sa.URL) -> None:
    instants = iter(range(1_770_000_000_000_000_000, 1_780_000_000_000_000_000, 1_000_000_000))

    async def scenario(tracker: Tracker, database: Database) -> None:
        bought = {"event_id": "e1", "event_type": "purchase", "quantity": 1, "price": 2}
        assert statuses(await track(tracker, bought)) == ["accepted"]
        assert statuses(await track(tracker, bought)) == ["duplicate"]
        [row] = await logged(database)
        assert json.loads(row["body"])["order_id"] == "e1"

    run(store_url, scenario, clock=lambda: next(instants))


@pytest.mark.parametrize(
    "change",
    [
        {"event_type": "click"},
        {"user_id": "bert"},
        {"anonymous_id": "a1"},
        {"item_id": "cup"},
        {"event_at": "2026-01-31T10:30:01Z"},
        {"context": {"page": "/mug"}},
        {"price": 1},
    ],
    ids=repr,
)
def test_the_same_id_with_another_body_is_a_conflict(store_url: sa.URL, change: dict[str, Any]) -> None:
    async def scenario(tracker: Tracker, database: Database) -> None:
        first = {"event_id": "e1", "event_at": "2026-01-31T10:30:00Z"}
        await track(tracker, first)
        [outcome] = await track(tracker, first | change)
        assert (outcome.status, outcome.reason, outcome.field) == ("refused", CONFLICT, "event_id")
        assert outcome.detail is not None
        assert outcome.detail.startswith("event_id='e1' cannot be used: another event has this id")
        assert len(await logged(database)) == 1

    run(store_url, scenario)


def test_a_batch_is_accepted_in_part_and_reported_by_index(store_url: sa.URL) -> None:
    async def scenario(tracker: Tracker, database: Database) -> None:
        await track(tracker, {"event_id": "old"})
        outcomes = await track(
            tracker,
            {},
            {"event_type": "teleported"},
            {"event_id": "old"},
            {"event_id": "new"},
            {"event_id": "new"},
            {"event_id": "new", "item_id": "cup"},
            {"price": -1},
        )
        assert statuses(outcomes) == [
            "accepted",
            "refused",
            "duplicate",
            "accepted",
            "duplicate",
            "refused",
            "refused",
        ]
        assert [outcome.reason for outcome in outcomes if outcome.status == "refused"] == [
            "unknown_event_type",
            CONFLICT,
            "negative_price",
        ]
        assert len(await logged(database)) == 3

    metrics = run(store_url, scenario)
    labels = {"route": "/test", "status": "accepted"}
    assert metrics.registry.get_sample_value("attune_tracked_events_total", labels) == 3


def test_the_nearest_types_are_named_for_the_first_unknown_ones_only(store_url: sa.URL) -> None:
    async def scenario(tracker: Tracker, _: Database) -> None:
        wrong = [{"event_type": f"prodct_veiw{n}"} for n in range(500)]
        started = time.perf_counter()
        outcomes = await track(tracker, *wrong)
        assert time.perf_counter() - started < 0.5
        assert "did you mean product_view" in str(outcomes[0].detail)
        assert "did you mean" not in str(outcomes[-1].detail)

    run(store_url, scenario)


def test_concurrent_requests_share_commits_and_sequences_follow_the_order(store_url: sa.URL) -> None:
    told: list[LoggedEvent] = []

    async def scenario(tracker: Tracker, database: Database) -> None:
        tracker.add_listener(told.extend)
        asked = [track(tracker, *({"item_id": f"{n}-{i}"} for i in range(5))) for n in range(100)]
        outcomes = await asyncio.gather(*asked)
        rows = await logged(database)
        by_id = {row["event_id"]: row for row in rows}
        assert len(by_id) == 500
        for n, answer in enumerate(outcomes):
            items = [json.loads(by_id[outcome.event_id]["body"])["item_id"] for outcome in answer]
            assert items == [f"{n}-{i}" for i in range(5)]
        assert [event.sequence for event in told] == [row["sequence"] for row in rows]
        assert [event.event_id for event in told] == [row["event_id"] for row in rows]

    metrics = run(store_url, scenario)
    commits = metrics.registry.get_sample_value("attune_database_group_size_count")
    assert commits is not None
    assert commits < 20


def test_one_id_from_two_requests_at_once_counts_once(store_url: sa.URL) -> None:
    async def scenario(tracker: Tracker, database: Database) -> None:
        asked = [track(tracker, {"event_id": "e1"}) for _ in range(20)]
        found = statuses([outcome for [outcome] in await asyncio.gather(*asked)])
        assert (found.count("accepted"), found.count("duplicate")) == (1, 19)
        assert len(await logged(database)) == 1

    run(store_url, scenario)


def test_one_id_from_two_processes_at_once_counts_once(store_url: sa.URL) -> None:
    async def scenario(tracker: Tracker, database: Database) -> None:
        other_database = Database.open(store_url, Metrics(), deadline_seconds=5.0)
        other = Tracker(other_database, allow_all, Metrics())
        for n in range(30):
            mine = {"event_id": f"e{n}"}
            here, there = await asyncio.gather(track(tracker, mine), track(other, mine, {"item_id": "cup"}))
            assert sorted(statuses([here[0], there[0]])) == ["accepted", "duplicate"]
            assert there[1].status == "accepted"
        await other_database.close()
        rows = await logged(database)
        assert len(rows) == len({row["event_id"] for row in rows}) == 60

    run(store_url, scenario)


def test_listeners_hear_what_is_durable_before_it_is_acknowledged(store_url: sa.URL) -> None:
    told: list[LoggedEvent] = []

    async def scenario(tracker: Tracker, _: Database) -> None:
        tracker.add_listener(told.extend)
        await track(tracker, {"event_id": "e1", "price": 3}, {"event_type": "nonsense"})
        [event] = told
        assert (event.sequence, event.event_id, event.user_id, event.item_id) == (1, "e1", "anna", "mug")
        assert event.fields == {"item_id": "mug", "price": 3.0, "channel": "web"}
        assert event.received_at >= event.event_at
        await track(tracker, {"event_id": "e1", "price": 3})
        assert len(told) == 1

    run(store_url, scenario)


def test_the_next_group_is_written_while_the_one_before_is_told(store_url: sa.URL) -> None:
    both_wait = threading.Event()
    in_the_log: list[int] = []

    def clock() -> int:
        if threading.current_thread() is not threading.main_thread():  # the writer's, with the first group
            both_wait.wait(5.0)
        return time.time_ns()

    def count_soon(_: Sequence[LoggedEvent]) -> None:
        end = time.monotonic() + 5.0
        counted = 0
        while counted < 2 and time.monotonic() < end:
            with engine.connect() as connection:
                counted = connection.execute(sa.select(sa.func.count()).select_from(events)).scalar_one()
        in_the_log.append(counted)

    async def scenario(tracker: Tracker, _: Database) -> None:
        tracker.add_listener(count_soon)
        first = asyncio.create_task(track(tracker, {}))
        await asyncio.sleep(0.05)
        second = asyncio.create_task(track(tracker, {}))
        await asyncio.sleep(0.05)
        both_wait.set()
        await asyncio.gather(first, second)

    engine = open_engine(store_url)
    run(store_url, scenario, clock=clock)
    engine.dispose()
    assert in_the_log == [2, 2]


def test_a_slow_or_failing_listener_never_takes_the_answer_away(store_url: sa.URL) -> None:
    async def slow() -> None:
        await asyncio.sleep(60)

    async def bad_later() -> None:
        raise ValueError("later")

    def bad(_: Sequence[LoggedEvent]) -> None:
        raise ValueError("at once")

    async def scenario(tracker: Tracker, _: Database) -> None:
        for listener in (bad, lambda _: slow(), lambda _: bad_later()):
            tracker.add_listener(listener)
        started = time.perf_counter()
        answers = await asyncio.gather(*(track(tracker, {}) for _ in range(10)))
        assert time.perf_counter() - started < 1.0
        assert {outcome.status for [outcome] in answers} == {"accepted"}
        for task in asyncio.all_tasks():
            if task.get_coro().__name__ == "slow":  # type: ignore[union-attr]
                task.cancel()

    run(store_url, scenario)


def test_who_may_not_be_tracked_leaves_nothing(store_url: sa.URL) -> None:
    def permissions(visitor_id: str | None, signals: Signals) -> Permissions:
        if signals.do_not_track:
            return Permissions(tracking=False, reason="do_not_track")
        if visitor_id in ("bert", "device-of-bert"):
            return Permissions(tracking=False, reason="opted_out")
        return Permissions()

    async def scenario(tracker: Tracker, database: Database) -> None:
        outcomes = await track(tracker, {}, {"user_id": "bert"}, {"anonymous_id": "device-of-bert"})
        assert statuses(outcomes) == ["accepted", "not_tracked", "not_tracked"]
        assert [outcome.reason for outcome in outcomes] == [None, "opted_out", "opted_out"]
        [silent] = await track(tracker, {"event_id": "x"}, signals=Signals(do_not_track=True))
        assert (silent.status, silent.reason, silent.event_id) == ("not_tracked", "do_not_track", None)
        assert len(await logged(database)) == 1

    run(store_url, scenario, permissions)


@pytest.mark.parametrize(
    ("flag", "view", "purchase"),
    [("behavioral_tracking", "not_tracked", "not_tracked"), ("browsing_history", "not_tracked", "accepted")],
)
def test_what_is_switched_off_is_not_stored(store_url: sa.URL, flag: str, view: str, purchase: str) -> None:
    async def scenario(tracker: Tracker, _: Database) -> None:
        outcomes = await track(tracker, {}, {"event_type": "purchase", "quantity": 1, "price": 1})
        assert statuses(outcomes) == [view, purchase]
        assert outcomes[0].reason == f"{flag}_disabled"

    run(store_url, scenario, switched_off=flag)


def test_an_event_that_cannot_be_stored_is_not_acknowledged(store_url: sa.URL) -> None:
    async def scenario(tracker: Tracker, database: Database) -> None:
        await database.close()
        with pytest.raises(StoreUnavailable):
            await track(tracker, {})

    run(store_url, scenario)


def test_a_request_that_is_given_up_does_not_hold_up_others(store_url: sa.URL) -> None:
    async def scenario(tracker: Tracker, _: Database) -> None:
        leaving = [asyncio.create_task(track(tracker, {})) for _ in range(5)]
        await asyncio.sleep(0)
        for task in leaving:
            task.cancel()
        assert statuses(await track(tracker, {})) == ["accepted"]
        await asyncio.gather(*leaving, return_exceptions=True)

    run(store_url, scenario)


def test_ids_grow_even_if_the_clock_goes_back() -> None:
    instants = iter([5_000_000_000, 5_000_000_000, 4_000_000_000, 6_000_000_000])
    ids = EventIds(lambda: next(instants))
    made = [ids.next() for _ in range(4)]
    assert made == sorted(made)
    form = re.compile(r"[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}")
    assert all(form.fullmatch(each) for each in made)


def test_the_names_of_every_document_are_understood() -> None:
    expected = {
        "user_id": "12345",
        "event_type": "product_viewed",
        "item_id": "mug",
        "event_at": "2026-01-31",
    }
    spellings = [
        {"user_id": "12345", "event_type": "product_viewed", "product_id": "mug", "timestamp": "2026-01-31"},
        {
            "customer_id": "12345",
            "behavior_type": "product_viewed",
            "item_id": "mug",
            "event_at": "2026-01-31",
        },
        {
            "customer_id": "12345",
            "activity_type": "product_viewed",
            "data": {"product_id": "mug", "timestamp": "2026-01-31"},
        },
        {"user_id": "12345", "customer_id": "12345", **expected},
        {"user_id": None, "customer_id": "12345", "item_id": "", **expected},
    ]
    assert [row_of(spelling) | expected for spelling in spellings] == [expected] * 5
    assert all(row_of(spelling) == expected for spelling in spellings[:4])


def test_what_the_contract_has_no_field_for_goes_into_the_context() -> None:
    row = row_of({"user_id": "a", "category": "toys", "data": {"page": 3}, "context": {"category": "games"}})
    assert row == {"user_id": "a", "context": {"category": "games", "page": 3}}


def test_device_and_session_are_lifted_out_of_the_context() -> None:
    row = row_of(
        {"user_id": "a", "session_id": "s1", "context": {"device_type": "mobile", "session_id": "s2"}}
    )
    assert (row["device_type"], row["session_id"]) == ("mobile", "s1")
    assert row_of({"user_id": "a", "context": {"device": "tablet"}})["device_type"] == "tablet"


@pytest.mark.parametrize(
    "body",
    [
        {"user_id": "a", "customer_id": "b"},
        {"user_id": "a", "data": {"customer_id": "b"}},
        {"user_id": "a", "data": [1]},
        {"user_id": "a", "page": 1, "context": "text"},
    ],
)
def test_a_body_that_contradicts_itself_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="cannot be used"):
        row_of(body)
