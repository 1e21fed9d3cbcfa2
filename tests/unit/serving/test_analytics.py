"""Analytics: real figures of small tables that can be added up in the head, and of what was served."""

import asyncio
import json
import shutil
import time
from collections.abc import Awaitable, Callable
from datetime import date
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from feature_repo.event_log import events, operational_url
from feature_repo.events import MESSAGE_LIST
from feature_repo.layout import Home
from serving.analytics import Analytics, Question, chosen_period, read_segment
from serving.data_health import health_tables
from serving.errors import InvalidField, NoTables, StoreUnavailable
from serving.figures import Segment
from serving.metrics import Metrics
from serving.releases import ReleaseHolder, serve_form
from serving.settings import read_settings
from serving.sheets import Answer, part_rows, parts_of
from serving.store.database import Database
from serving.store.decisions import decision_outcomes, decisions
from tests import mart_rows
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
        analytics = Analytics(home, releases, database, metrics)
        try:
            await scenario(analytics, database)
        finally:
            await analytics.close()
            await database.close()

    asyncio.run(body())


def value(answer: dict[str, Any], name: str) -> Any:
    return answer["figures"][name]["value"]


def rows_by(answer: dict[str, Any], table: str) -> dict[str, dict[str, Any]]:
    """Rows of a table by their first column."""
    content = answer["tables"][table]
    first = content["columns"][0]["name"]
    return {row[first]: row for row in content["rows"]}


def test_the_overview_adds_up_and_compares_with_the_period_before(tmp_path: Path) -> None:
    async def scenario(analytics: Analytics, _: Database) -> None:
        answer = await analytics.overview(Question(days=2))
        assert answer["period"] == {
            "from": "2024-01-30",
            "to": "2024-01-31",
            "days": 2,
            "data_until": "2024-01-31",
        }
        assert answer["comparison_period"]["from"] == "2024-01-28"
        assert (value(answer, "revenue"), value(answer, "orders"), value(answer, "sessions")) == (50.0, 3, 6)
        assert value(answer, "average_order_value") == pytest.approx(50 / 3, abs=1e-6)
        assert (value(answer, "conversion_rate"), value(answer, "active_users")) == (0.5, 2)
        revenue = answer["figures"]["revenue"]
        assert revenue["comparison"] == {"value": 10.0, "change": 4.0}
        assert (revenue["unit"], revenue["source_asset"]) == ("EUR", "transforms/metrics_daily")
        assert revenue["definition"] and revenue["as_of"] == "2024-01-31"
        series = answer["series"]["revenue"]
        assert series["x"] == ["2024-01-30", "2024-01-31"]
        assert (series["values"], series["comparison"]) == ([30.0, 20.0], [10.0, 0.0])
        channels = rows_by(answer, "by_channel")
        assert {name: row["sessions"] for name, row in channels.items()} == {"web": 4, "email": 2}
        assert answer["tables"]["by_channel"]["comparison"][0]["sessions"] == 4
        assert answer["live"]["activities_last_hour"] == 0

    run(tmp_path, scenario)


def test_a_period_before_the_data_is_no_measure(tmp_path: Path) -> None:
    async def scenario(analytics: Analytics, _: Database) -> None:
        for question in (Question(), Question(days=2, compare="previous_year"), Question(compare="none")):
            answer = await analytics.dashboard("overview", question)
            assert answer["comparison_period"] is None
            assert answer["figures"]["revenue"]["comparison"] is None

    run(tmp_path, scenario)


def test_a_segment_restricts_what_is_told_by_it_and_says_what_is_not(tmp_path: Path) -> None:
    async def scenario(analytics: Analytics, _: Database) -> None:
        answer = await analytics.dashboard("overview", Question(segment=Segment("channel", "email")))
        assert answer["segment"] == {"channel": "email"}
        assert (value(answer, "sessions"), value(answer, "revenue")) == (2, 0.0)
        assert answer["figures"]["active_users"]["value"] is None
        assert answer["figures"]["active_users"]["unavailable"] == "not told by channel"
        assert rows_by(answer, "by_channel")["email"]["sessions"] == 2
        served = await analytics.dashboard("recommendations", Question(segment=Segment("algorithm", "als")))
        assert value(served, "items_shown") == 6
        with pytest.raises(InvalidField, match="channel, .*device_type"):
            await analytics.dashboard("overview", Question(segment=Segment("colour", "red")))

    run(tmp_path, scenario)


@pytest.mark.parametrize("text", ["channel", ":web", "channel:", ""])
def test_a_segment_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidField, match="channel:web"):
        read_segment(text)


def test_users_are_counted_and_retention_compares_two_periods(tmp_path: Path) -> None:
    async def scenario(analytics: Analytics, _: Database) -> None:
        answer = await analytics.dashboard("users", Question(days=2))
        assert (value(answer, "total_users"), value(answer, "buyers")) == (2, 2)
        assert (value(answer, "retention_rate"), value(answer, "churn_rate")) == (1.0, 0.0)
        assert value(answer, "mean_lifetime_value") == 620.0
        funnel = rows_by(answer, "funnel")
        assert (funnel["session"]["sessions"], funnel["order"]["sessions"]) == (6, 3)
        whole = await analytics.dashboard("users", Question(days=4))
        assert value(whole, "retention_rate") is None
        assert "period before" in whole["figures"]["retention_rate"]["unavailable"]
        assert rows_by(whole, "cohorts")["2024-01-01"]["share"] == 1.0

    run(tmp_path, scenario)


def test_segments_tiers_and_stages_hold_everybody_once(tmp_path: Path) -> None:
    async def scenario(analytics: Analytics, _: Database) -> None:
        answer = await analytics.dashboard("segments")
        found = rows_by(answer, "segments")
        assert {name: (row["customers"], row["share"]) for name, row in found.items()} == {
            "high": (1, 0.5),
            "at_risk": (1, 0.5),
        }
        assert all(row["strategy"] for row in found.values())
        tiers = rows_by(answer, "loyalty_tiers")
        assert {name: row["customers"] for name, row in tiers.items()} == {"Standard": 1, "New": 2}
        stages = rows_by(answer, "lifecycle")
        assert {name: row["customers"] for name, row in stages.items()} == {"new": 2, "prospect": 1}

    run(tmp_path, scenario)


def test_moves_between_segments_compare_the_last_two_predictions(tmp_path: Path) -> None:
    publish_predictions(Home(tmp_path))
    earlier = {"user_id": "bert", "clv_90d": 90.0, "churn_probability": 0.2, "value_segment": "low"}
    folder = Home(tmp_path).prediction("user_predictions")
    pq.write_table(pa.Table.from_pylist([earlier]), folder / "2024-01-31.parquet")

    async def scenario(analytics: Analytics, _: Database) -> None:
        answer = await analytics.dashboard("segments")
        assert answer["tables"]["moves"]["rows"] == [
            {"segment_before": "low", "segment": "at_risk", "customers": 1}
        ]

    run(tmp_path, scenario)


def test_margins_refer_to_what_has_a_cost_and_say_how_much_that_is(tmp_path: Path) -> None:
    async def scenario(analytics: Analytics, _: Database) -> None:
        answer = await analytics.dashboard("profit", Question(days=4))
        assert (value(answer, "revenue"), value(answer, "gross_margin")) == (60.0, 3.0)
        assert value(answer, "margin_rate") == pytest.approx(3 / 40)
        assert value(answer, "margin_coverage") == pytest.approx(40 / 60, abs=1e-6)
        assert rows_by(answer, "losing_items").keys() == {"lamp"}
        assert rows_by(answer, "by_category")["light"]["gross_margin"] == -3.0
        assert value(answer, "stock_value") == 10 * 4 + 2 * 33 + 3 * 20
        assert value(answer, "stock_cover_days") == pytest.approx(20 * 4 / 4)
        assert value(answer, "inventory_turnover") == pytest.approx((4 + 33) * 365 / 4 / 166)
        assert value(answer, "unsold_90_days") == 1
        assert value(answer, "lifetime_value_at_risk") == 40.0

    run(tmp_path, scenario)


def test_what_is_sold_of_an_unknown_stock_is_no_turnover(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [(*each[:4], None if each[0] == "lamp" else each[4]) for each in mart_rows.ITEMS]
    monkeypatch.setattr(mart_rows, "ITEMS", items)

    async def scenario(analytics: Analytics, _: Database) -> None:
        answer = await analytics.dashboard("profit", Question(days=4))
        assert value(answer, "inventory_turnover") == pytest.approx(4 * 365 / 4 / 100)
        assert "stock and cost are known" in answer["figures"]["inventory_turnover"]["definition"]

    run(tmp_path, scenario)


def test_what_a_channel_costs_stands_beside_what_is_credited_to_it(tmp_path: Path) -> None:
    async def scenario(analytics: Analytics, _: Database) -> None:
        answer = await analytics.dashboard("profit", Question(days=4))
        assert value(answer, "customer_acquisition_cost") == 6.0
        channels = rows_by(answer, "attribution")
        assert channels["search"]["customer_acquisition_cost"] == 6.0
        assert channels["search"]["revenue_per_spend"] == 2.0
        assert channels["email"]["revenue_per_spend"] is None
        assert channels["none"]["linear_revenue"] == 8.0
        early = await analytics.dashboard("profit", Question(last=DAYS[2], days=1))
        spend = early["figures"]["marketing_spend"]
        assert (spend["value"], spend["unavailable"]) == (None, "no source tells what marketing costs")

    run(tmp_path, scenario)


def test_a_campaign_says_what_it_caused_only_where_somebody_was_held_out(tmp_path: Path) -> None:
    async def scenario(analytics: Analytics, _: Database) -> None:
        before = await analytics.dashboard("campaigns")
        assert (value(before, "messages_sent"), value(before, "open_rate")) == (4, 0.5)
        assert "held customers out" in before["figures"]["incremental_revenue"]["unavailable"]
        effect = {
            "event_date": DAYS[1],
            "campaign_id": "c1",
            "channel": "email",
            "treated_users": 4,
            "held_out_users": 2,
            "incremental_revenue": 20.0,
            "variance": 4.0,
        }
        path = Home(tmp_path).analysis("campaign_effects")
        path.parent.mkdir()
        pq.write_table(pa.Table.from_pylist([effect]), path)
        result = {"campaign_id": "c1", "channel": "email", "first_date": DAYS[1], "conversion_low": -0.01}
        pq.write_table(pa.Table.from_pylist([result]), path.with_name("campaign_results.parquet"))
        await analytics.refresh()
        answer = await analytics.dashboard("campaigns")
        assert value(answer, "incremental_revenue") == 20.0
        assert value(answer, "incremental_revenue_error") == pytest.approx(3.92)
        assert answer["figures"]["incremental_revenue"]["source_asset"] == "analysis/attribution"
        assert rows_by(answer, "campaigns")["c1"]["incremental_revenue"] == 20.0
        shown = rows_by(answer, "campaign_results")["c1"]
        assert (shown["conversion_low"], shown["first_date"]) == (-0.01, str(DAYS[1]))

    run(tmp_path, scenario)


def test_journeys_say_what_follows_what_and_where_visits_end(tmp_path: Path) -> None:
    async def scenario(analytics: Analytics, _: Database) -> None:
        answer = await analytics.dashboard("journeys")
        assert rows_by(answer, "paths")["landing > product"]["visits"] == 3
        first = answer["tables"]["transitions"]["rows"][0]
        assert first == {"step": "landing", "next_step": "product", "times": 4, "share": 1.0}
        ends = rows_by(answer, "drop_offs")
        assert (ends["product"]["visits"], ends["product"]["share"], ends["order"]["visits"]) == (3, 0.75, 1)

    run(tmp_path, scenario)


def test_every_opportunity_brings_its_numbers(tmp_path: Path) -> None:
    async def scenario(analytics: Analytics, _: Database) -> None:
        answer = await analytics.dashboard("opportunities", Question(days=4))
        rows = answer["tables"]["opportunities"]["rows"]
        found = {(each["area"], each["item_id"]) for each in rows}
        assert found >= {("pricing", "lamp"), ("inventory", "rug"), ("retention", None), ("bundles", "lamp")}
        assert all(each["amount"] is not None or each["lift"] is not None for each in rows)

    run(tmp_path, scenario)


def test_baskets_say_what_is_bought_together(tmp_path: Path) -> None:
    async def scenario(analytics: Analytics, _: Database) -> None:
        answer = await analytics.bundles(Question(days=4))
        assert value(answer, "multi_item_share") == 0.25
        assert (value(answer, "bundle_views"), value(answer, "bundle_conversion_rate")) == (4, 0.25)
        [pair] = answer["tables"]["top_pairs"]["rows"]
        assert (pair["item_id"], pair["other_item_id"]) == ("lamp", "mug")
        early = await analytics.bundles(Question(last=DAYS[0], days=1))
        assert "bundle_view" in early["figures"]["bundle_conversion_rate"]["unavailable"]

    run(tmp_path, scenario)


def test_recommendations_are_told_by_all_that_was_served(tmp_path: Path) -> None:
    async def scenario(analytics: Analytics, _: Database) -> None:
        answer = await analytics.recommendations(Question())
        assert (value(answer, "answers"), value(answer, "items_shown"), value(answer, "clicks")) == (4, 8, 2)
        assert value(answer, "click_through_rate") == 0.25
        assert value(answer, "recommendation_revenue_share") == pytest.approx(9 / 60, abs=1e-6)
        assert value(answer, "catalogue_coverage") == 0.25
        rates = {name: row["click_through_rate"] for name, row in rows_by(answer, "by_algorithm").items()}
        assert rates["als"] == pytest.approx(1 / 3, abs=1e-6) and rates["popular"] == 0.0
        early = await analytics.recommendations(Question(last=DAYS[0], days=1))
        assert "nothing was served" in early["figures"]["click_through_rate"]["unavailable"]

    run(tmp_path, scenario)


def test_any_part_can_be_had_as_rows(tmp_path: Path) -> None:
    async def scenario(analytics: Analytics, _: Database) -> None:
        answer = await analytics.dashboard("overview", Question(days=2))
        assert parts_of(answer)[:3] == ["figures", "series", "by_channel"]
        header, rows = part_rows(answer, "figures")
        assert rows[0][: header.index("source_asset")] == ["revenue", 50.0, "EUR", 10.0, 4.0]
        header, rows = part_rows(answer, "series")
        assert (header[:2], [row[:2] for row in rows]) == (
            ["date", "revenue"],
            [["2024-01-30", 30.0], ["2024-01-31", 20.0]],
        )
        header, rows = part_rows(answer, "by_channel")
        assert dict(zip(header, rows[0], strict=True))["channel"] == "web"

    run(tmp_path, scenario)


def test_models_and_health_are_told_in_tables(tmp_path: Path) -> None:
    ledger = Home(tmp_path).monitoring / "alerts.json"
    ledger.parent.mkdir(parents=True)
    alert = {"key": "k", "family": "volume", "since": "2024-01-30", "until": "2024-01-31", "text": "few"}
    ledger.write_text(json.dumps({"alerts": [alert | {"is_open": True}]}))

    async def scenario(analytics: Analytics, _: Database) -> None:
        analytics._metrics.request_seconds.labels("/x").observe(0.004)
        answer = await analytics.data_health()
        assert answer["tables"]["alerts"]["rows"][0]["text"] == "few"
        assert answer["tables"]["latency"]["rows"] == [
            {"route": "/x", "requests": 1, "p50": 0.005, "p99": 0.005}
        ]
        models = await analytics.models()
        assert models["tables"]["release"]["source_asset"] == "release/built"
        results = await analytics.experiments()
        assert results["experiments"] == [] and "no run" in results["unavailable"]["experiments"]

    run(tmp_path, scenario)


def test_many_who_ask_for_data_health_at_once_cost_one_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = []

    def read(home: Home, metrics: Metrics) -> Answer:
        readings.append(home)
        return health_tables(home, metrics)

    monkeypatch.setattr("serving.analytics.health_tables", read)

    async def scenario(analytics: Analytics, _: Database) -> None:
        answers = await asyncio.gather(*(analytics.data_health() for _ in range(5)))
        assert len(readings) == 1 and answers[0]["tables"].keys() == answers[4]["tables"].keys()
        monkeypatch.setattr("serving.analytics.HEALTH_SECONDS", 0.0)
        await analytics.data_health()
        assert len(readings) == 2  # the answer before is too old to stand in

    run(tmp_path, scenario)


def test_the_answer_before_stands_in_while_it_is_read_again_unless_it_is_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = {"now": 1000.0}
    monkeypatch.setattr("serving.analytics.time", SimpleNamespace(monotonic=lambda: clock["now"]))
    count = 0

    async def read() -> Answer:
        nonlocal count
        count += 1
        number = count
        await asyncio.sleep(0.01)
        if number == 3:
            raise StoreUnavailable("away")
        return {"number": number}

    async def scenario(analytics: Analytics, _: Database) -> None:
        async def asked() -> int:
            return int((await analytics._once_in(10.0, ("x",), read))["number"])

        assert await asked() == 1
        clock["now"] += 10.0
        assert await asked() == 1  # for the second reading has only begun
        await asyncio.sleep(0.05)
        assert await asked() == 2
        clock["now"] += 30.0
        with pytest.raises(StoreUnavailable):
            await asked()
        clock["now"] += 10.0
        assert await asked() == 4  # a reading that failed stands in for nothing

    run(tmp_path, scenario, has_tables=False)


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


def test_what_came_since_is_told_apart_and_from_the_latest_answers(tmp_path: Path) -> None:
    async def scenario(analytics: Analytics, database: Database) -> None:
        await database.write(put_served)
        answer = await analytics.personalization(Question())
        live = answer["live"]
        assert live["since"] == "2024-02-01T00:00:00+00:00"
        assert (live["answers"], live["items_shown"]) == (4, 8)
        assert (live["clicks"], live["click_through_rate"]) == (1, 0.125)
        assert (live["conversions"], live["revenue"], live["is_complete"]) == (1, 9.0, True)
        rates = {row["algorithm"]: row["click_through_rate"] for row in live["by_algorithm"]}
        assert rates == {"collaborative": 0.25, "popular": 0.0}
        assert live["personalized_share"] == 0.75
        assert live["rungs"] == {"batch": 3, "popular": 1}
        assert answer["lift"] is None and "experiment" in answer["unavailable"]["lift"]

    run(tmp_path, scenario)


def test_offers_stand_beside_what_was_promised_of_them(tmp_path: Path) -> None:
    async def scenario(analytics: Analytics, _: Database) -> None:
        answer = await analytics.dashboard("campaigns", Question())
        found = rows_by(answer, "offers")["category_bonuses"]
        assert (found["served"], found["viewed"], found["redeem_rate"]) == (10, 4, 0.25)
        assert (found["response_rate"], found["expected_response_rate"]) == (0.5, pytest.approx(0.05))
        early = await analytics.dashboard("campaigns", Question(last=DAYS[0], days=1))
        assert early["tables"]["offers"]["rows"] == []

    run(tmp_path, scenario)


def test_a_publication_of_before_there_was_a_mart_is_read_without_it(tmp_path: Path) -> None:
    publish_marts(Home(tmp_path))
    publish_predictions(Home(tmp_path))
    shutil.rmtree(Home(tmp_path).root / "marts" / "current" / "offers_daily")

    async def scenario(analytics: Analytics, _: Database) -> None:
        assert (await analytics.dashboard("campaigns"))["tables"]["offers"]["rows"] == []

    run(tmp_path, scenario, has_tables=False)


def test_the_goods_of_drafts_are_no_answers(tmp_path: Path) -> None:
    async def scenario(analytics: Analytics, database: Database) -> None:
        await database.write(partial(put_served, kind=MESSAGE_LIST))
        live = (await analytics.recommendations(Question()))["live"]
        assert (live["answers"], live["items_shown"], live["by_kind"]) == (0, 0, [])

    run(tmp_path, scenario)


def test_lift_is_that_of_the_published_holdout(tmp_path: Path) -> None:
    published = {
        "data_until": "2024-01-31",
        "level": 0.95,
        "exposed": {"included": 950, "held_out": 105},
        "sample_ratio": None,
        "metrics": [],
        "verdict": {"text": "cannot be told yet"},
    }

    async def scenario(analytics: Analytics, _: Database) -> None:
        path = Home(tmp_path).experiment_result("holdout")
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(published))
        answer = await analytics.personalization(Question())
        assert answer["lift"]["control_group"] == 105
        assert answer["lift"]["verdict"] == "cannot be told yet"
        assert "lift" not in answer["unavailable"]

    run(tmp_path, scenario)


def test_served_bundles_are_shown_by_type(tmp_path: Path) -> None:
    async def scenario(analytics: Analytics, database: Database) -> None:
        await database.write(lambda connection: put_served(connection, "bundles"))
        [row] = (await analytics.bundles(Question()))["live"]["by_bundle_type"]
        assert (row["bundle_type"], row["served"], row["views"]) == ("cross_sell", 4, 0)
        assert (row["mean_price"], row["mean_discount"], row["attach_rate"]) == (10.0, 0.1, None)

    run(tmp_path, scenario)


def test_without_tables_the_remedy_is_named(tmp_path: Path) -> None:
    async def scenario(analytics: Analytics, _: Database) -> None:
        with pytest.raises(NoTables, match="attune run") as refused:
            await analytics.overview(Question())
        assert str(tmp_path) not in str(refused.value)
        assert refused.value.place.startswith(str(tmp_path))

    run(tmp_path, scenario, has_tables=False)


def test_a_new_publication_is_read_and_an_old_answer_is_kept_until_then(tmp_path: Path) -> None:
    async def scenario(analytics: Analytics, _: Database) -> None:
        first = await analytics.dashboard("profit")
        assert await analytics.dashboard("profit") == first
        current = tmp_path / "marts" / "current"
        current.rename(current.with_name("first"))
        shutil.copytree(current.with_name("first"), current.with_name("second"))
        path = current.with_name("second") / "metrics_daily" / "all.parquet"
        table = pq.read_table(path)
        pq.write_table(table.filter(pc.less(table["event_date"], DAYS[2])), path)
        current.symlink_to("second")
        assert await analytics.dashboard("profit") == first
        await analytics.refresh()
        assert (await analytics.dashboard("profit"))["as_of"] == "2024-01-29"

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
