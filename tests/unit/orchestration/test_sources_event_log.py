"""The live log as a source: everything once, whatever is killed, late, reordered, purged or linked."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from feature_repo.event_log import events, operational_url
from feature_repo.events import MESSAGE_LIST
from feature_repo.layout import Home
from orchestration.errors import SourceError, UnknownSource
from orchestration.landed import landed_days, landing_summary
from orchestration.landing import LandingReport, land_days
from orchestration.sources.base import parse_sources
from orchestration.sources.event_log import EventLogSource, customer_table, decision_table
from serving.store.decisions import decisions
from tests.factories import ListSource, view
from tests.operational_store import OperationalStore, micros

FIRST, SECOND = date(2025, 3, 1), date(2025, 3, 2)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def store(home: Home) -> OperationalStore:
    return OperationalStore(home)


def opened(home: Home) -> EventLogSource:
    return EventLogSource.open(home, operational_url(home))


def land(home: Home, days: list[date] | None = None) -> LandingReport:
    return land_days(home, opened(home), days)


def rows(home: Home, day: date = FIRST) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (
        pq.ParquetFile(home.events / f"event_date={day}" / "event_log.parquet").read().to_pylist()
    )
    return found


def ids(home: Home, day: date = FIRST) -> list[str]:
    return [row["event_id"] for row in rows(home, day)]


def test_a_home_without_a_store_has_nothing_new(home: Home) -> None:
    assert opened(home).days() == []
    assert opened(home).customers().empty


def test_what_was_tracked_lands_in_the_day_on_which_it_happened(home: Home, store: OperationalStore) -> None:
    store.track("a", "2025-03-01T10:00:00Z", user_id="u1", context={"page": "home"}, price=2.5)
    store.track("b", "2025-03-01T23:59:00Z", received="2025-03-02T00:10:00Z", anonymous_id="v1")
    assert land(home).rows == 2
    first, second = rows(home)
    assert (first["event_id"], first["user_id"], first["item_id"]) == ("a", "u1", "i1")
    assert (json.loads(first["context"]), first["price"]) == ({"page": "home"}, 2.5)
    assert (second["user_id"], second["anonymous_id"]) == (None, "v1")
    assert landing_summary(home).quarantined == 0


def test_landing_again_changes_nothing(home: Home, store: OperationalStore) -> None:
    store.track("a", "2025-03-01T10:00:00Z", user_id="u1")
    land(home)
    before = {path: path.stat().st_mtime_ns for path in home.landing.rglob("*")}
    assert land(home).changed_days == []
    assert {path: path.stat().st_mtime_ns for path in home.landing.rglob("*")} == before


def test_new_events_join_those_that_are_landed_even_after_the_log_was_purged(
    home: Home, store: OperationalStore
) -> None:
    store.track("a", "2025-03-01T10:00:00Z", user_id="u1")
    land(home)
    with store.writing() as connection:
        connection.execute(sa.delete(events))
    store.track("b", "2025-03-01T09:00:00Z", received="2025-03-05T00:00:00Z", user_id="u1")
    assert land(home).changed_days == [FIRST]
    assert ids(home) == ["b", "a"]


def test_a_row_that_was_committed_after_a_later_one_is_not_lost(home: Home, store: OperationalStore) -> None:
    for number in range(1, 4):
        store.track(f"e{number}", f"2025-03-01T10:00:0{number}Z", user_id="u1")
    with store.writing() as connection:  # the second transaction is still under way
        [second] = connection.execute(sa.select(events).where(events.c.event_id == "e2"))
        connection.execute(sa.delete(events).where(events.c.event_id == "e2"))
    land(home)
    assert ids(home) == ["e1", "e3"]
    with store.writing() as connection:
        connection.execute(sa.insert(events).values(**second._mapping))
    land(home)
    assert ids(home) == ["e1", "e2", "e3"]


def test_the_mark_moves_past_what_is_settled(home: Home, store: OperationalStore) -> None:
    store.track("old", "2025-03-01T10:00:00Z", user_id="u1")
    store.track("new", "2025-03-02T10:00:00Z", user_id="u1")
    land(home)
    assert json.loads(home.event_log_mark.read_text())["events"] == 1
    assert opened(home).days() == [SECOND]


def test_a_run_killed_before_the_mark_moves_lands_everything_once(
    home: Home, store: OperationalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """Nothing catches a kill."""

    def killed(*_: Any) -> None:
        raise Killed

    store.track("a", "2025-03-01T10:00:00Z", user_id="u1")
    store.track("b", "2025-03-02T10:00:00Z", user_id="u1")
    with monkeypatch.context() as patched:
        patched.setattr("orchestration.sources.event_log.write_note", killed)
        with pytest.raises(Killed):
            land(home)
    assert not home.event_log_mark.exists()
    store.track("c", "2025-03-01T11:00:00Z", received="2025-03-02T11:00:00Z", user_id="u1")
    assert land(home).changed_days == [FIRST]
    assert (ids(home), ids(home, SECOND)) == (["a", "c"], ["b"])


def test_a_day_outside_the_window_waits_until_it_is_asked_for(home: Home, store: OperationalStore) -> None:
    store.track("early", "2025-03-01T10:00:00Z", user_id="u1")
    for day in (2, 3):
        store.track(f"late{day}", f"2025-03-0{day}T10:00:00Z", user_id="u1")
    land(home, [SECOND])
    assert FIRST not in landed_days(home)
    land(home, [date(2025, 3, 3)])
    assert opened(home).days() == [FIRST, date(2025, 3, 3)]
    land(home)
    assert ids(home) == ["early"]


def test_a_visitor_who_turns_out_to_be_a_customer_has_always_been_one(
    home: Home, store: OperationalStore
) -> None:
    store.track("a", "2025-03-01T10:00:00Z", anonymous_id="v1")
    store.track("b", "2025-03-01T11:00:00Z", anonymous_id="v2")
    store.track("x", "2025-03-03T10:00:00Z", user_id="u9")
    land(home)
    with store.writing() as connection:
        connection.execute(sa.delete(events))
    store.link("v1", "u1", "2025-03-03T12:00:00Z")
    assert opened(home).days() == [FIRST]
    assert land(home).changed_days == [FIRST]
    assert [(row["user_id"], row["anonymous_id"]) for row in rows(home)] == [("u1", "v1"), (None, "v2")]
    assert opened(home).days() == []


def test_a_link_that_is_known_when_the_event_lands_is_used(home: Home, store: OperationalStore) -> None:
    store.track("a", "2025-03-01T10:00:00Z", anonymous_id="v1")
    store.link("v1", "u1", "2025-03-01T12:00:00Z")
    land(home)
    assert rows(home)[0]["user_id"] == "u1"


def test_what_was_decided_lands_as_one_impression_for_each_item(home: Home, store: OperationalStore) -> None:
    store.track("a", "2025-03-01T10:00:00Z", anonymous_id="v1")
    shown = [
        {"item_id": "i1", "position": 1, "score": 0.5, "algorithm": "als", "propensity": 0.9, "slot": None},
        {
            "item_id": "i2",
            "position": 2,
            "score": 0.4,
            "algorithm": "popular",
            "propensity": 0.1,
            "slot": "x",
        },
    ]
    store.decide("d1", "u1", "2025-03-01T12:00:00Z", shown)
    store.decide("d2", "v1", "2025-03-01T13:00:00Z", shown[:1])
    store.decide("d3", None, "2025-03-01T14:00:00Z", shown[:1])
    store.decide("d4", "u1", "2025-03-01T15:00:00Z", [])
    land(home)
    served = [row for row in rows(home) if row["event_type"] == "recommendation_served"]
    assert [(row["event_id"], row["user_id"], row["anonymous_id"]) for row in served] == [
        ("d1:1", "u1", None),
        ("d1:2", "u1", None),
        ("d2:1", None, "v1"),
        ("d3:1", None, None),
    ]
    assert (served[1]["recommendation_id"], served[1]["item_id"]) == ("d1", "i2")
    assert json.loads(served[1]["context"]) == {
        "algorithm": "popular",
        "kind": "recommendations",
        "position": 2,
        "propensity": 0.1,
        "release": "r1",
        "slot": "x",
    }
    assert land(home).changed_days == []


def test_the_goods_of_a_message_are_shown_when_it_is_sent_and_those_of_a_draft_never(
    home: Home, store: OperationalStore
) -> None:
    goods = [{"item_id": "i1", "position": 1, "propensity": 0.95}, {"item_id": "i2", "position": 2}]
    for draft in ("sent", "kept"):
        store.decide(draft, "u1", "2025-03-01T12:00:00Z", goods, MESSAGE_LIST)
    land(home)
    assert not [row for day in landed_days(home) for row in rows(home, day)]
    sent: dict[str, Any] = {"user_id": "u1", "recommendation_id": "sent", "item_id": None}
    store.track("m1", "2025-03-02T09:00:00Z", event_type="email_sent", **sent)
    store.track("m2", "2025-03-02T10:00:00Z", event_type="email_sent", user_id="u1", item_id=None)
    land(home)
    shown = [row for row in rows(home, SECOND) if row["event_type"] == "recommendation_served"]
    assert [(row["event_id"], row["event_at"].hour) for row in shown] == [("sent:1", 9), ("sent:2", 9)]
    assert json.loads(shown[0]["context"])["kind"] == MESSAGE_LIST
    assert land(home).changed_days == []


def test_offers_come_with_what_was_promised_of_them(home: Home, store: OperationalStore) -> None:
    made = [
        {"offer_type": "product_discounts", "item_id": "i1", "expected_response_rate": 0.05, "discount": 0.1},
        {"offer_type": "category_bonuses", "expected_response_rate": 0.04},
    ]
    store.decide("d1", "u1", "2025-03-01T12:00:00Z", made, "offers", "offers")
    land(home)
    first, second = rows(home)
    assert (first["event_type"], first["user_id"], first["item_id"]) == ("offer_served", "u1", "i1")
    assert (second["event_id"], second["item_id"], second["recommendation_id"]) == ("d1:2", None, "d1")
    assert json.loads(second["context"]) == {
        "expected_response_rate": 0.04,
        "kind": "offers",
        "offer_id": "d1-2",
        "offer_type": "category_bonuses",
        "position": 2,
        "release": "r1",
    }
    assert landing_summary(home).quarantined == 0


def test_another_source_of_the_day_is_left_alone_and_the_same_event_counts_once(
    home: Home, store: OperationalStore
) -> None:
    land_days(home, ListSource([view("shop"), view("both")]))
    before = landed_days(home)
    store.track("both", "2025-03-01T10:00:00Z", user_id="u1")
    store.track("live", "2025-03-01T10:00:00Z", user_id="u1")
    land(home)
    assert ids(home) == ["live"]
    assert landed_days(home) != before
    summary = landing_summary(home)
    assert (summary.days, summary.rows, summary.duplicates) == (1, 3, 1)
    assert land_days(home, ListSource([view("shop"), view("both")])).changed_days == []


def test_customers_of_the_service_are_merged_with_what_is_known(home: Home, store: OperationalStore) -> None:
    land_days(
        home,
        ListSource(
            [view("a")],
            customer_rows=[{"user_id": "u1", "created_at": "2025-01-01", "location": "PT", "age": 40}],
        ),
    )
    with store.writing() as connection:
        if not sa.inspect(connection).has_table("customers"):
            pytest.skip("no module of the service declares customers yet")
        row = {"user_id": "u1", "location": "DE", "created_at": micros("2025-03-01T00:00:00Z")}
        table = sa.Table("customers", sa.MetaData(), autoload_with=connection)
        needed = {c.name: 0 if isinstance(c.type, sa.Integer) else "" for c in table.c if not c.nullable}
        connection.execute(sa.insert(table).values(**{**needed, **row}))
    land(home)
    [customer] = pq.read_table(home.customers_file).to_pylist()
    assert (customer["location"], customer["age"], customer["created_at"].date()) == (
        "DE",
        40,
        date(2025, 1, 1),
    )


def test_the_columns_that_are_read_by_name_exist(store: OperationalStore) -> None:
    assert {column.name for column in decision_table.columns} <= {column.name for column in decisions.c}
    with store.writing() as connection:
        if not sa.inspect(connection).has_table("customers"):
            pytest.skip("no module of the service declares customers yet")
        names = {column["name"] for column in sa.inspect(connection).get_columns("customers")}
    assert {column.name for column in customer_table.columns} <= names


def test_a_store_that_does_not_answer_is_one_line(home: Home) -> None:
    url = sa.make_url("postgresql+psycopg2://nobody@127.0.0.1:1/none")
    with pytest.raises(SourceError, match="operational store cannot be read.*DATABASE_URL"):
        EventLogSource.open(home, url)


@pytest.mark.parametrize(
    ("text", "path", "error"),
    [
        ("event_log", Path("x"), "leave it out"),
        ("tabular", None, "say where with --path"),
        ("tabular,simulator", Path("x"), "cannot be read together"),
        ("event_log,event_log", None, "cannot be read together"),
        ("", None, "cannot be read together"),
    ],
)
def test_sources_and_path_fit_together(text: str, path: Path | None, error: str) -> None:
    with pytest.raises(SourceError, match=error):
        parse_sources(text, path)


def test_a_file_source_and_the_log_may_be_read_together() -> None:
    assert parse_sources("tabular, event_log", Path("x")) == ("tabular", "event_log")
    assert parse_sources("event_log", None) == ("event_log",)
    with pytest.raises(UnknownSource):
        parse_sources("tabular,shopify", Path("x"))
