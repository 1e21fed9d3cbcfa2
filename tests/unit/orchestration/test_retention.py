"""Retention: what is too old goes, what is not stays, nothing comes back, and no day looks new for it."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from feature_repo.event_log import events
from feature_repo.layout import Home
from orchestration.completion import note_materialized
from orchestration.errors import SettingsError
from orchestration.expiry import expire, expire_landed
from orchestration.landed import landed_days, landing_summary
from orchestration.landing import Keeping, land_days
from orchestration.marts import MartsManifest, _to_json, current_manifest
from orchestration.parquet_files import write_atomically
from orchestration.retention import DEFAULTS, KEEP_ALL, Retention, read_retention
from orchestration.settings import read_settings
from orchestration.sources.event_log import EventLogSource
from serving.store.campaigns import campaign_messages
from tests.factories import ListSource, view
from tests.operational_store import OperationalStore, micros

LAST = date(2025, 3, 31)
SHORT = Retention(events=20, by_type={"search": 5, "purchase": None}, quarantine=10, log=5, decisions=5)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def instant(age_days: int) -> str:
    return f"{LAST - timedelta(days=age_days)}T10:00:00Z"


def shop() -> ListSource:
    rows: list[dict[str, Any]] = []
    for age in (0, 6, 25):
        rows += [
            view(f"view{age}", instant(age)),
            view(f"search{age}", instant(age), event_type="search", query="lamp"),
            view(f"order{age}", instant(age), event_type="purchase", quantity=1, price=2.0),
            view(f"bad{age}", instant(age), channel="nowhere"),
        ]
    return ListSource(rows)


def kept(home: Home) -> set[str]:
    files = home.events.glob("*/*.parquet")
    return {each for path in files for each in pq.ParquetFile(path).read()["event_id"].to_pylist()}


LEFT = {"view0", "search0", "order0", "view6", "order6", "order25"}


def test_each_type_is_kept_for_its_days_counted_from_the_last_landed_day(home: Home) -> None:
    land_days(home, shop())
    assert expire_landed(home, SHORT) == (3, 1)
    assert kept(home) == LEFT
    assert landing_summary(home).quarantined == 2
    assert expire_landed(home, SHORT) == (0, 0)


def test_what_expired_does_not_come_back_from_its_source(home: Home) -> None:
    land_days(home, shop())
    expire_landed(home, SHORT)
    before = landed_days(home)
    report = land_days(home, shop(), keeping=Keeping(retention=SHORT))
    assert (report.changed_days, report.expired) == ([], 4)
    assert landed_days(home) == before


def test_landing_by_the_policy_equals_landing_and_expiring(tmp_path: Path) -> None:
    one, other = Home(tmp_path / "one"), Home(tmp_path / "other")
    land_days(one, shop(), keeping=Keeping(retention=SHORT))
    land_days(other, shop())
    expire_landed(other, SHORT)
    assert kept(one) == kept(other) == LEFT
    assert landed_days(one) == landed_days(other)


def test_time_passes_with_the_data(home: Home) -> None:
    land_days(home, shop())
    expire_landed(home, SHORT)
    later = ListSource([view("later", f"{LAST + timedelta(days=15)}T10:00:00Z")])
    land_days(home, later)
    assert expire_landed(home, SHORT) == (2, 2)
    assert kept(home) == {"view0", "order0", "order6", "order25", "later"}


def test_days_that_were_published_stay_up_to_date(home: Home) -> None:
    land_days(home, shop())
    published = MartsManifest("v1", landed_days(home), LAST, {}, _now(), "code", {})
    folder = home.mart_versions / "v1"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(_to_json(published))
    home.current_marts.symlink_to("versions/v1")
    home.features.mkdir()
    note_materialized(home, published)
    expire_landed(home, SHORT)
    manifest = current_manifest(home)
    assert manifest is not None
    assert manifest.days == landed_days(home) != published.days


def test_log_rows_go_once_they_are_landed_and_old(home: Home) -> None:
    store = OperationalStore(home)
    store.track("old", instant(10), user_id="u1")
    store.track("new", instant(0), user_id="u1")
    store.decide("d1", "u1", instant(10), [{"item_id": "i1"}])
    store.decide("d2", "u1", instant(0), [{"item_id": "i1"}])
    settings = _settings(home)
    assert expire(settings).total == 0
    land_days(home, EventLogSource.open(home, settings.operational_url))
    expired = expire(settings)
    assert (expired.log, expired.decisions) == (1, 1)
    with store.writing() as connection:
        assert connection.execute(sa.select(events.c.event_id)).scalars().all() == ["new"]
    land_days(home, EventLogSource.open(home, settings.operational_url))
    assert kept(home) == {"old", "new", "d1:1", "d2:1"}


def test_old_messages_of_campaigns_say_nothing_and_count_all_the_same(home: Home) -> None:
    store = OperationalStore(home)
    for name, age in (("old", 10), ("new", 0)):
        row = {column.name: "x" for column in campaign_messages.columns} | {
            "message_id": name,
            "run_date": name,
        }
        row |= {"planned_at": micros(instant(age)), "due_at": 0, "done_at": 0, "attempts": 1, "cost": 0.0}
        with store.writing() as connection:
            connection.execute(sa.insert(campaign_messages).values(row))
        path = home.campaign_run("spring", str(LAST - timedelta(days=age)))
        plan = pa.table({"user_id": ["u1"], "content": ["{1}"], "subject": ["Hello"], "control_share": [0.1]})
        write_atomically(path, plan, {"declaration": "abc"})
    assert expire(_settings(home)).messages == 2
    assert expire(_settings(home)).total == 0
    with store.writing() as connection:
        said = dict(
            connection.execute(sa.select(campaign_messages.c.message_id, campaign_messages.c.content)).all()
        )
    assert said == {"old": "{}", "new": "x"}
    old, new = (pq.ParquetFile(path).read() for path in sorted(home.campaign_runs.glob("*/*.parquet")))
    assert (old["content"][0].as_py(), old["subject"][0].as_py(), old["user_id"][0].as_py()) == (
        None,
        None,
        "u1",
    )
    assert (new["content"][0].as_py(), old.schema.metadata) == ("{1}", {b"declaration": b"abc"})


def test_the_defaults_can_be_changed_by_a_file(tmp_path: Path) -> None:
    path = tmp_path / "retention.yml"
    path.write_text("events: {default: 30, View: forever, purchase: 9}\nlog: 7\n", encoding="utf-8")
    found = read_retention(path)
    assert (found.events, found.by_type["product_view"], found.by_type["purchase"]) == (30, None, 9)
    assert (found.log, found.decisions) == (7, DEFAULTS.decisions)
    assert read_retention(None) == DEFAULTS


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("events: 30", "by event type"),
        ("events: {teleport: 3}", "events.teleport.*unknown event_type"),
        ("log: 0", "log=0 cannot be used: use days from 1 on"),
        ("log: soon", "log='soon'"),
        ("logs: 3", "entries events, quarantine, log, decisions"),
        ("[", "cannot be read"),
    ],
)
def test_a_wrong_policy_is_named(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "retention.yml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=problem):
        read_retention(path)


def test_a_policy_without_limits_keeps_everything(home: Home) -> None:
    land_days(home, shop())
    assert expire_landed(home, KEEP_ALL) == (0, 0)


def _settings(home: Home) -> Any:
    from dataclasses import replace

    return replace(read_settings({"ATTUNE_HOME": str(home.root)}), retention=SHORT)


def _now() -> Any:
    from datetime import UTC, datetime

    return datetime(2025, 4, 1, tzinfo=UTC)
