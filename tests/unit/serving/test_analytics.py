"""Analytics: real figures of small tables that can be added up in the head, and of what was served."""

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable
from datetime import date
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from feature_repo.event_log import events, operational_url
from feature_repo.layout import Home
from serving.analytics import Analytics, chosen_period
from serving.errors import InvalidField, NoTables
from serving.metrics import Metrics
from serving.releases import ReleaseHolder, serve_form
from serving.settings import read_settings
from serving.store.database import Database
from serving.store.decisions import decision_outcomes, decisions
from tests.fakes import tiny_release
from tests.mart_rows import DAYS, publish_marts, publish_predictions

UNTIL = DAYS[-1]
Scenario = Callable[[Analytics, Database], Awaitable[None]]


def run(root: Path, scenario: Scenario, has_tables: bool = True) -> None:
    home = Home(root)
    if has_tables:
        publish_marts(home)
        publish_predictions(home)

    async def body() -> None:
        metrics = Metrics()
        settings = read_settings({"ATTUNE_HOME": str(root)})
        database = Database.open(operational_url(home), metrics)
        releases = ReleaseHolder(serve_form(tiny_release()), settings, metrics)
        analytics = Analytics(home, releases, database)
        try:
            await scenario(analytics, database)
        finally:
            await analytics.close()
            await database.close()

    asyncio.run(body())


def test_the_overview_adds_up_and_compares_with_the_period_before(tmp_path: Path) -> None:
    async def scenario(analytics: Analytics, _: Database) -> None:
        answer = await analytics.overview(None, None, 2)
        assert answer["period"] == {
            "from": "2024-01-30",
            "to": "2024-01-31",
            "days": 2,
            "data_until": "2024-01-31",
        }
        kpis = answer["kpis"]
        assert (kpis["revenue"], kpis["orders"], kpis["sessions"]) == (50.0, 3, 6)
        assert kpis["average_order_value"] == pytest.approx(50 / 3)
        assert (kpis["conversion_rate"], kpis["active_users"]) == (0.5, 2)
        assert answer["change"]["revenue"] == 4.0
        assert [day["date"] for day in answer["trend"]] == ["2024-01-30", "2024-01-31"]
        assert answer["currency"] == "EUR"
        assert answer["live"]["activities_last_hour"] == 0
        assert kpis.keys() <= answer["definitions"].keys()

    run(tmp_path, scenario)


def test_users_are_counted_and_retention_compares_two_periods(tmp_path: Path) -> None:
    async def scenario(analytics: Analytics, _: Database) -> None:
        answer = await analytics.report("users", None, None, 2)
        assert (answer["total_users"], answer["buyers_ever"], answer["buyers"]) == (3, 2, 2)
        assert (answer["retention_rate"], answer["churn_rate"]) == (1.0, 0.0)
        assert answer["mean_lifetime_value"] == 620.0
        channels = {row["channel"]: row["sessions"] for row in answer["by_channel"]}
        assert channels == {"web": 3, "email": 1}
        whole = await analytics.report("users", None, None, 4)
        assert whole["retention_rate"] is None
        assert "period before" in whole["unavailable"]["retention_rate"]

    run(tmp_path, scenario)


def test_segments_tiers_and_stages_hold_everybody_once(tmp_path: Path) -> None:
    async def scenario(analytics: Analytics, _: Database) -> None:
        answer = await analytics.report("segments")
        assert [(row["segment"], row["customers"], row["share"]) for row in answer["segments"]] == [
            ("high", 1, 0.5),
            ("at_risk", 1, 0.5),
        ]
        assert all(row["strategy"] for row in answer["segments"])
        assert {row["tier"]: row["customers"] for row in answer["loyalty_tiers"]} == {"Standard": 1, "New": 2}
        assert {row["stage"]: row["customers"] for row in answer["lifecycle"]} == {"new": 2, "prospect": 1}

    run(tmp_path, scenario)


def test_margins_refer_to_what_has_a_cost_and_say_how_much_that_is(tmp_path: Path) -> None:
    async def scenario(analytics: Analytics, _: Database) -> None:
        answer = await analytics.report("profit", None, None, 4)
        assert (answer["revenue"], answer["gross_margin"]) == (60.0, 3.0)
        assert answer["margin_rate"] == pytest.approx(3 / 40)
        assert answer["margin_coverage"] == pytest.approx(40 / 60, abs=1e-6)
        assert [item["item_id"] for item in answer["losing_items"]] == ["lamp"]
        assert answer["inventory"]["stock_value"] == 10 * 4 + 2 * 33 + 3 * 20
        assert answer["inventory"]["unsold_90_days"] == 1
        assert answer["retention"]["lifetime_value_at_risk"] == 40.0
        assert answer["customer_acquisition_cost"] is None
        assert "marketing" in answer["unavailable"]["customer_acquisition_cost"]

    run(tmp_path, scenario)


def test_every_opportunity_brings_its_numbers(tmp_path: Path) -> None:
    async def scenario(analytics: Analytics, _: Database) -> None:
        answer = await analytics.report("opportunities", None, None, 4)
        found = {(each["area"], each.get("item_id")) for each in answer["opportunities"]}
        assert found >= {("pricing", "lamp"), ("inventory", "rug"), ("retention", None), ("bundles", "lamp")}
        assert all(len(each) >= 3 for each in answer["opportunities"])

    run(tmp_path, scenario)


def test_baskets_say_what_is_bought_together(tmp_path: Path) -> None:
    async def scenario(analytics: Analytics, _: Database) -> None:
        answer = await analytics.bundle_performance(None, None, 4)
        assert answer["baskets"]["multi_item_share"] == 0.25
        [pair] = answer["baskets"]["top_pairs"]
        assert (pair["item_id"], pair["other_item_id"]) == ("lamp", "mug")
        assert answer["conversion_rate"] is None
        assert answer["unavailable"].keys() == {"conversion_rate", "by_type"}

    run(tmp_path, scenario)


def put_served(connection: sa.Connection, kind: str = "recommendations") -> None:
    now = time.time_ns() // 1000
    for number in range(4):
        output = {
            "personalized": number < 3,
            "rung": "batch" if number < 3 else "popular",
            "items": [
                {"item_id": "mug", "position": 1, "algorithm": "collaborative"},
                {"item_id": "lamp", "position": 2, "algorithm": "popular"},
            ],
            "bundles": [{"bundle_type": "cross_sell", "price": 10.0, "discount": 0.1}],
        }
        connection.execute(
            sa.insert(decisions).values(
                decision_id=f"{kind}{number}",
                kind=kind,
                at=now,
                release="r",
                inputs="{}",
                output=orjson.dumps(output).decode(),
            )
        )
    for item, status, event in (
        ("mug", "clicked", "e1"),
        ("mug", "clicked", "e2"),
        ("mug", "converted", "e3"),
    ):
        connection.execute(
            sa.insert(decision_outcomes).values(
                decision_id=f"{kind}0", item_id=item, status=status, event_id=event, at=now
            )
        )
    connection.execute(
        sa.insert(events).values(
            event_id="e3",
            event_type="purchase",
            user_id="anna",
            event_at=now,
            received_at=now,
            body=orjson.dumps({"quantity": 2, "price": 4.5, "item_id": "mug"}).decode(),
        )
    )


def test_rates_come_from_what_was_served_and_what_came_back(tmp_path: Path) -> None:
    async def scenario(analytics: Analytics, database: Database) -> None:
        await database.write(put_served)
        answer = await analytics.recommendation_performance(30)
        assert (answer["answers"], answer["items_shown"]) == (4, 8)
        assert (answer["clicks"], answer["click_through_rate"]) == (1, 0.125)
        assert (answer["conversions"], answer["revenue"], answer["is_complete"]) == (1, 9.0, True)
        rates = {row["algorithm"]: row["click_through_rate"] for row in answer["by_algorithm"]}
        assert rates == {"collaborative": 0.25, "popular": 0.0}
        personal = await analytics.personalization(30)
        assert personal["personalized_share"] == 0.75
        assert personal["rungs"] == {"batch": 3, "popular": 1}
        assert personal["lift"] is None and "experiment" in personal["unavailable"]["lift"]
        both = await analytics.recommendations_dashboard(30)
        assert both["clicks"] == 1 and both["personalized_share"] == 0.75

    run(tmp_path, scenario)


def test_served_bundles_are_shown_by_type(tmp_path: Path) -> None:
    async def scenario(analytics: Analytics, database: Database) -> None:
        await database.write(lambda connection: put_served(connection, "bundles"))
        answer = await analytics.bundle_performance(None, None, 4)
        [row] = answer["by_type"]
        assert (row["bundle_type"], row["served"], row["views"]) == ("cross_sell", 4, 0)
        assert (row["mean_price"], row["mean_discount"], row["attach_rate"]) == (10.0, 0.1, None)

    run(tmp_path, scenario)


def test_before_anything_was_served_the_rates_are_null_with_a_reason(tmp_path: Path) -> None:
    async def scenario(analytics: Analytics, _: Database) -> None:
        answer = await analytics.recommendation_performance()
        assert answer["click_through_rate"] is None
        assert "nothing was served" in answer["unavailable"]["click_through_rate"]

    run(tmp_path, scenario)


def test_without_tables_the_remedy_is_named(tmp_path: Path) -> None:
    async def scenario(analytics: Analytics, _: Database) -> None:
        with pytest.raises(NoTables, match="attune run"):
            await analytics.overview()

    run(tmp_path, scenario, has_tables=False)


def test_a_new_publication_is_read_and_an_old_answer_is_kept_until_then(tmp_path: Path) -> None:
    async def scenario(analytics: Analytics, _: Database) -> None:
        first = await analytics.report("profit")
        assert await analytics.report("profit") == first
        assert len(analytics._kept) == 1
        current = tmp_path / "marts" / "current"
        current.rename(current.with_name("first"))
        shutil.copytree(current.with_name("first"), current.with_name("second"))
        days = current.with_name("second") / "daily_kpis" / "rows.parquet"
        pq.write_table(pq.read_table(days).slice(0, 2), days)
        current.symlink_to("second")
        assert (await analytics.report("profit"))["period"]["data_until"] == "2024-01-29"

    run(tmp_path, scenario)


@pytest.mark.parametrize(
    ("first", "last", "days", "wanted"),
    [
        (None, None, None, (date(2024, 1, 2), UNTIL)),
        (None, None, 1, (UNTIL, UNTIL)),
        (date(2024, 1, 1), None, None, (date(2024, 1, 1), UNTIL)),
        (date(2024, 1, 1), None, 7, (date(2024, 1, 1), date(2024, 1, 7))),
        (None, date(2024, 1, 10), 3, (date(2024, 1, 8), date(2024, 1, 10))),
    ],
)
def test_a_period_is_whole_days_that_end_with_the_data(
    first: date | None, last: date | None, days: int | None, wanted: tuple[date, date]
) -> None:
    period = chosen_period(UNTIL, first, last, days)
    assert (period.first, period.last) == wanted


@pytest.mark.parametrize(
    ("first", "last", "days"),
    [
        (date(2024, 2, 1), date(2024, 1, 1), None),
        (date(2024, 1, 1), date(2024, 1, 2), 2),
        (date(1, 1, 1), UNTIL, None),
        (date.max, None, 5),
        (None, date.min, 5),
    ],
)
def test_a_period_that_is_none_is_refused(first: Any, last: Any, days: Any) -> None:
    with pytest.raises(InvalidField):
        chosen_period(UNTIL, first, last, days)
