"""The dbt project on real DuckDB: what each mart says, and that days may be rebuilt in any order."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
import yaml

from feature_repo.layout import Home
from feature_repo.marketing import SPEND_SCHEMA
from orchestration.mart_files import MARTS
from orchestration.marts import TRANSFORMS
from orchestration.parquet_files import write_atomically
from tests.integration.landed import (
    Event,
    Transforms,
    at,
    copy_home,
    event,
    land,
    land_catalogue,
    land_day,
    rows,
    table,
)

pytestmark = pytest.mark.integration

FIRST_DAY = date(2024, 5, 1)
DAYS = [FIRST_DAY + timedelta(days=offset) for offset in range(30)]
TOLERANCE = 1e-9


def shop(seed: int) -> list[Event]:
    """Thirty days of a small shop: visits past midnight, an order in two days, guests, returns, ties."""
    draw = random.Random(seed)
    events: list[Event] = []
    for visit in range(260):
        start = at("2024-05-01 00:00") + timedelta(minutes=draw.randrange(30 * 24 * 60 - 120))
        if visit % 4 == 0:
            start = start.replace(hour=23, minute=draw.randrange(35, 60))
        user = draw.choice([None, *(f"u{number}" for number in range(9))])
        order = f"o{visit}"
        for step in range(draw.randrange(1, 6)):
            start += timedelta(minutes=draw.choice([0, 1, 7, 25, 30, 31]))
            kind = draw.choice(
                ["product_view", "product_view", "add_to_cart", "purchase", "return", "search"]
            )
            line = {"quantity": float(draw.randrange(1, 4)), "price": draw.choice([1.1, 2.5, 9.99])}
            events.append(
                event(
                    f"e{visit}-{step}",
                    kind,
                    start.strftime("%Y-%m-%d %H:%M"),
                    user_id=user,
                    session_id=f"s{visit}" if visit % 3 else None,
                    item_id=None if kind == "search" else f"i{draw.randrange(7)}",
                    channel=draw.choice(["web", "mobile_app"]),
                    order_id=order if kind == "purchase" else None,
                    query="lamp" if kind == "search" else None,
                    **(line if kind in ("purchase", "return") else {}),
                )
            )
    events += messages(draw)
    return [row for row in events if row["event_at"].date() <= DAYS[-1]]


def messages(draw: random.Random) -> list[Event]:
    """A campaign sent twice, with somebody held out; answers, an experiment, and what came of them."""
    events: list[Event] = []
    for day in (3, 9, 17, 23):
        for number in range(9):
            user, name, when = f"u{number}", f"m{day}-{number}", f"2024-05-{day:02} 08:0{number}"
            kind = "campaign_holdout" if number % 4 == 0 else "email_sent"
            events.append(event(name, kind, when, user_id=user, campaign_id=f"c{day % 2}", channel="email"))
            if kind == "email_sent" and draw.random() < 0.5:
                opened = f"2024-05-{day + draw.randrange(5):02} 20:1{number}"
                events.append(
                    event(f"{name}-o", "email_open", opened, user_id=user, campaign_id=f"c{day % 2}")
                )
            offer = {"user_id": user, "recommendation_id": name}
            promised = f'{{"offer_id": "{name}-1", "offer_type": "rewards", "expected_response_rate": 0.05}}'
            events.append(event(f"{name}-f", "offer_served", when, context=promised, **offer))
            if number % 3 == 0:
                used = f"2024-05-{day + 2:02} 21:2{number}"
                events.append(event(f"{name}-g", "offer_redeem", used, context=promised, **offer))
            context = '{"algorithm": "als", "kind": "recommendations", "position": 1, "release": "r"}'
            answer = {"user_id": user, "item_id": f"i{number % 7}", "recommendation_id": name}
            events.append(
                event(f"{name}-r", "recommendation_served", when, channel="api", context=context, **answer)
            )
            arm = f'{{"variant": "{"control" if number % 2 else "treated"}", "propensity": 0.5}}'
            events.append(
                event(f"{name}-x", "experiment_exposure", when, user_id=user, experiment_id="x", context=arm)
            )
            if draw.random() < 0.5:
                clicked = f"2024-05-{day + draw.randrange(8):02} 21:1{number}"
                events.append(event(f"{name}-c", "recommendation_click", clicked, **answer))
    return events


@pytest.fixture(scope="module")
def built(transforms: Transforms, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The shop, landed and built in one full refresh with all data tests; not to be changed."""
    home = Home(tmp_path_factory.mktemp("built") / "home")
    land_catalogue(
        home,
        items=[
            {"item_id": f"i{number}", "category_path": f"c{number % 3} > d{number}"} for number in range(6)
        ],
        customers=[{"user_id": "u1", "location": "France"}, {"user_id": "silent", "age": 40}],
    )
    land(home, shop(seed=1))
    spend = {"day": FIRST_DAY, "channel": "search", "campaign_id": None, "amount": 12.5}
    write_atomically(home.marketing_spend_file, pa.Table.from_pylist([spend], SPEND_SCHEMA))
    transforms.run(home, full_refresh=True, command="build")
    return home


def assert_same_marts(left: Home, right: Home, names: Sequence[str] = ()) -> None:
    """Equal row by row and column by column, floats to 1e-9 of their size; all marts, or those named."""
    for mart in MARTS:
        if names and mart.name not in names:
            continue
        ours, theirs = table(left, mart.name), table(right, mart.name)
        assert ours.num_rows == theirs.num_rows > 0, mart.name
        for name in ours.column_names:
            if pa.types.is_floating(ours.schema.field(name).type):
                left_values, right_values = ours[name].to_numpy(), theirs[name].to_numpy()
                np.testing.assert_allclose(left_values, right_values, TOLERANCE, TOLERANCE, err_msg=name)
            else:
                assert ours[name].to_pylist() == theirs[name].to_pylist(), f"{mart.name}.{name}"


def test_thirty_days_rebuilt_in_random_order_equal_one_full_refresh(
    transforms: Transforms, built: Home, tmp_path: Path
) -> None:
    home = copy_home(built, tmp_path / "home")
    for day in DAYS:
        land_day(home, day, [row for row in shop(seed=2) if row["event_at"].date() == day])
    refreshed = copy_home(home, tmp_path / "refreshed")
    transforms.run(refreshed, full_refresh=True)
    order = random.Random(3).sample(DAYS, len(DAYS))
    while order:
        # One, then three, so that half as many runs meet both a day alone and days that lie apart.
        for size in (1, 3):
            days, order = order[:size], order[size:]
            if days:
                transforms.run(home, days)
    assert_same_marts(home, refreshed)
    past_midnight = "select count(*) from marts.sessions where cast(ended_at as date) > session_date"
    over_days = "select count(*) from marts.orders where last_line_date > order_date"
    assert rows(home, past_midnight) >= [(5,)]
    assert rows(home, over_days) >= [(2,)]


def test_days_that_arrive_in_random_order_equal_one_full_refresh(
    transforms: Transforms, built: Home, tmp_path: Path
) -> None:
    home = Home(tmp_path / "home")
    land_catalogue(home)
    for name in ("items.parquet", "customers.parquet", "marketing_spend.parquet"):
        (home.landing / name).write_bytes((built.landing / name).read_bytes())
    order = random.Random(4).sample(DAYS, len(DAYS))
    for position in range(0, len(order), 6):
        batch = order[position : position + 6]
        land(home, [row for row in shop(seed=1) if row["event_at"].date() in batch])
        transforms.run(home, batch)
    assert_same_marts(home, built)


def test_a_table_that_is_rebuilt_in_parts_is_the_same(
    transforms: Transforms, built: Home, tmp_path: Path
) -> None:
    home = copy_home(built, tmp_path / "home")
    in_parts = ["user_daily", "journeys_daily"]
    command = ["run", "--full-refresh", "--select", *in_parts]
    transforms.invoke(home, command, {"rows_in_a_part": 5})
    assert_same_marts(home, built, in_parts)


@pytest.fixture(scope="module")
def week(transforms: Transforms, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Ann and Bob buy on 1, 3 and 8 May, Eve on 3 and 8 May; built, not to be changed."""
    home = Home(tmp_path_factory.mktemp("week") / "home")
    land_catalogue(home, items=[{"item_id": "lamp", "category_path": "Home > Lighting"}])
    everybody = [(user, day) for user in ("ann", "bob", "eve") for day in (1, 3, 8)]
    land(home, [purchase(f"{user}-{day}", user, day) for user, day in everybody if (user, day) != ("eve", 1)])
    transforms.run(home, full_refresh=True)
    return home


def purchase(event_id: str, user: str | None, day: int, amount: float = 10.0, time: str = "12:00") -> Event:
    return event(
        event_id,
        "purchase",
        f"2024-05-{day:02} {time}",
        user_id=user,
        item_id="lamp",
        order_id=f"order-{event_id}",
        quantity=1.0,
        price=amount,
    )


def spend_by_day(home: Home, user: str) -> list[tuple[int, float, float]]:
    """Day of May, lifetime spend, 7-day decayed spend."""
    query = (
        "select day(event_date), spend_total, round(spend_decay_7d, 6) from marts.user_features "
        f"where user_id = '{user}' order by 1"
    )
    return rows(home, query)


def test_a_late_event_corrects_the_later_rows_of_its_user_and_of_nobody_else(
    transforms: Transforms, week: Home, tmp_path: Path
) -> None:
    home = copy_home(week, tmp_path / "home")
    mark = "update marts.user_features set spend_total = -1 where user_id = 'eve'"
    with duckdb.connect(str(home.warehouse)) as connection:
        connection.execute(mark)
    on_time = [purchase("ann-1", "ann", 1), purchase("bob-1", "bob", 1)]
    land(home, [*on_time, purchase("late", "ann", 1, amount=64.0)])
    transforms.run(home, [date(2024, 5, 1)])
    assert [row[:2] for row in spend_by_day(home, "ann")] == [(1, 74.0), (3, 84.0), (8, 94.0)]
    assert [row[:2] for row in spend_by_day(home, "bob")] == [(1, 10.0), (3, 20.0), (8, 30.0)]
    assert [row[1] for row in spend_by_day(home, "eve")] == [-1.0, -1.0], (
        "rows that nothing changed were rewritten"
    )


def test_an_event_that_vanished_takes_its_row_along_and_corrects_later_rows(
    transforms: Transforms, week: Home, tmp_path: Path
) -> None:
    home = copy_home(week, tmp_path / "home")
    land(home, [purchase("bob-3", "bob", 3), purchase("eve-3", "eve", 3)])
    transforms.run(home, [date(2024, 5, 3)])
    assert [row[:2] for row in spend_by_day(home, "ann")] == [(1, 10.0), (8, 20.0)]
    assert spend_by_day(home, "ann")[1][2] == 15.0
    assert [row[:2] for row in spend_by_day(home, "bob")] == [(1, 10.0), (3, 20.0), (8, 30.0)]
    assert rows(home, "select count(*) from marts.orders where order_id = 'order-ann-3'") == [(0,)]
    assert rows(home, "select purchase_count from marts.interactions where user_id = 'ann'") == [(2,)]


def test_a_day_that_became_empty_loses_all_its_rows(
    transforms: Transforms, week: Home, tmp_path: Path
) -> None:
    home = copy_home(week, tmp_path / "home")
    land_day(home, date(2024, 5, 3), [])
    transforms.run(home, [date(2024, 5, 3)])
    assert rows(home, "select day(event_date) from marts.daily_kpis order by 1") == [(1,), (8,)]
    assert [row[:2] for row in spend_by_day(home, "bob")] == [(1, 10.0), (8, 20.0)]


def test_rebuilding_the_day_after_joins_a_session_that_midnight_cut(
    transforms: Transforms, tmp_path: Path
) -> None:
    home = Home(tmp_path / "home")
    land_catalogue(home)
    land(home, [purchase("before", "ann", 1, time="23:50")])
    transforms.run(home)
    land(home, [purchase("after", "ann", 2, time="00:10")])
    transforms.run(home, [date(2024, 5, 2)])
    assert rows(home, "select order_count, day(session_date) from marts.sessions") == [(2, 1)]
    assert rows(home, "select count(distinct session_id) from marts.orders") == [(1,)]
    land_day(home, date(2024, 5, 2), [])
    transforms.run(home, [date(2024, 5, 2)])
    assert rows(home, "select order_count, duration_seconds from marts.sessions") == [(1, 0.0)]


def test_a_guest_and_what_the_shop_sends_make_no_user_rows(transforms: Transforms, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    land_catalogue(home)
    land(home, [purchase("guest", None, 1), event("mail", "email_sent", "2024-05-01 08:00", user_id="ann")])
    transforms.run(home)
    assert rows(home, "select count(*) from marts.user_daily") == [(0,)]
    assert rows(home, "select is_guest, user_id, visitor_id from marts.orders") == [
        (True, None, "order:order-guest")
    ]
    assert rows(home, "select purchase_count, buyers_decay_7d from marts.item_features") == [(1, 1.0)]


def test_reading_one_day_opens_only_the_files_of_that_day(transforms: Transforms, built: Home) -> None:
    transforms.point_to(built)
    plan = rows(
        built,
        "explain analyze select count(user_id) from staging.stg_events "
        "where (event_date between cast('2024-05-07' as date) and cast('2024-05-07' as date))",
    )[0][1]
    assert "Total Files Read: 1" in plan or "Scanning Files: 1/30" in plan, plan


def test_a_day_in_another_form_is_refused_with_its_value(transforms: Transforms, week: Home) -> None:
    with pytest.raises(AssertionError, match="1 May.*YYYY-MM-DD"):
        transforms.invoke(week, ["run", "--select", "int_visits_daily"], variables={"days": ["1 May"]})


def test_the_unit_tests_of_the_models_pass(transforms: Transforms, built: Home, tmp_path: Path) -> None:
    outcomes = transforms.unit_tests(copy_home(built, tmp_path / "home"))
    assert len(outcomes) >= 8
    assert [name for name, status in outcomes if status != "pass"] == []


def test_only_staging_reads_the_landed_files() -> None:
    readers = {
        path.parent.name for path in TRANSFORMS.glob("models/**/*.sql") if "source(" in path.read_text()
    }
    assert readers == {"staging"}


def test_every_mart_that_is_published_has_a_contract_and_a_key_test() -> None:
    for mart in MARTS:
        model = yaml.safe_load((TRANSFORMS / f"models/marts/{mart.name}.yml").read_text())["models"][0]
        assert model["description"].startswith("One row per"), mart.name
        assert all(column["data_type"] and column["description"] for column in model["columns"]), mart.name
        assert any("is_key" in test for test in model["data_tests"]), mart.name


def test_distinct_users_of_any_period_add_up_from_the_gaps(built: Home) -> None:
    for first, last in ((1, 30), (10, 16), (30, 30)):
        period = f"event_date between date '2024-05-{first:02}' and date '2024-05-{last:02}'"
        counted = rows(built, f"select count(distinct user_id) from marts.user_daily where {period}")
        added = rows(
            built,
            f"select sum(user_count) from marts.activity_gaps where {period} and activity = 'active' and "
            f"(gap_days = 0 or event_date - cast(gap_days as integer) < date '2024-05-{first:02}')",
        )
        assert counted == added != [(0,)]


def test_every_dimension_adds_up_to_the_whole(built: Home) -> None:
    sums = rows(
        built,
        "select dimension, sum(session_count), round(sum(revenue), 6), sum(order_count) from "
        "marts.metrics_daily where dimension <> 'category' group by dimension order by dimension",
    )
    assert [row[0] for row in sums] == ["all", "channel", "customer_type", "device_type"]
    assert {row[1:] for row in sums} == {sums[0][1:]}
    whole = rows(built, "select sum(amount) from marts.orders")[0][0]
    credited = rows(built, "select sum(linear_revenue) from marts.attribution_daily")[0][0]
    assert whole == pytest.approx(float(sums[0][2])) == credited
