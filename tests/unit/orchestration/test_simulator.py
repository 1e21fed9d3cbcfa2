"""The simulated world: reproducible, plausible, learnable, received with exactly the faults it reports."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from feature_repo.events import EVENT_TYPES
from feature_repo.layout import Home
from orchestration.errors import SourceMissing, SourceUnreadable
from orchestration.landed import landing_summary
from orchestration.landing import LandingReport, land_days
from orchestration.simulation.drops import FAULTS, LATEST_ARRIVAL_DAYS
from orchestration.simulation.happenings import KINDS
from orchestration.simulator import DEFAULT_END_DATE, SimulationReport, WorldError, simulate
from orchestration.sources.base import open_source
from orchestration.sources.simulator import ARRIVAL_DAYS

USERS, DAYS = 250, 150


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    simulate(folder, USERS, DAYS, seed=7)
    return folder


@pytest.fixture(scope="module")
def report(world: Path) -> SimulationReport:
    counts = json.loads((world / "world.json").read_text(encoding="utf-8"))
    return SimulationReport(
        *(counts[name] for name in ("events", "malformed", "duplicates", "late")), seconds=0.0
    )


@pytest.fixture(scope="module")
def landed(world: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, LandingReport]:
    home = Home(tmp_path_factory.mktemp("home"))
    return home, land_days(home, open_source("simulator", world))


@pytest.fixture(scope="module")
def events(landed: tuple[Home, LandingReport]) -> pd.DataFrame:
    pattern = str(landed[0].events / "*" / "*.parquet")
    with duckdb.connect() as database:
        database.execute("SET TimeZone = 'UTC'")
        return database.execute(f"SELECT * FROM read_parquet('{pattern}', hive_partitioning = false)").df()


def test_one_seed_is_one_world_and_another_seed_another(tmp_path: Path) -> None:
    for name, seed in (("one", 3), ("same", 3), ("other", 4)):
        simulate(tmp_path / name, users=30, days=40, seed=seed)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*"))
    assert files == sorted(path.relative_to(tmp_path / "same") for path in (tmp_path / "same").rglob("*.*"))
    assert all((tmp_path / "one" / f).read_bytes() == (tmp_path / "same" / f).read_bytes() for f in files)
    drop = f"drops/received_date={DEFAULT_END_DATE}.parquet"
    assert (tmp_path / "one" / drop).read_bytes() != (tmp_path / "other" / drop).read_bytes()


def test_what_is_landed_is_exactly_what_happened(
    landed: tuple[Home, LandingReport], report: SimulationReport
) -> None:
    home, landing = landed
    assert landing.rows == report.events
    assert landing.quarantined == report.malformed
    assert landing.duplicates == report.duplicates
    assert landing_summary(home).undated == 0
    assert [landing.days[0].day, landing.days[-1].day] == [
        DEFAULT_END_DATE - timedelta(days=DAYS - 1),
        DEFAULT_END_DATE,
    ]


def test_the_shares_of_faults_are_as_stated(report: SimulationReport) -> None:
    assert report.malformed / report.events == pytest.approx(0.01, abs=0.002)
    assert report.duplicates / report.events == pytest.approx(0.01, abs=0.0025)
    assert report.late / report.events == pytest.approx(0.02, abs=0.003)


def test_the_number_of_events_is_about_160_per_customer_and_year(report: SimulationReport) -> None:
    assert report.events / (USERS * DAYS / 365) == pytest.approx(160, rel=0.15)


def test_every_kind_of_fault_is_quarantined_under_its_reason(landed: tuple[Home, LandingReport]) -> None:
    reasons = landing_summary(landed[0]).reasons
    assert {reason for reason, _, _ in FAULTS} | {"duplicate"} == set(reasons)


def test_late_rows_arrive_one_to_three_days_after(world: Path, events: pd.DataFrame) -> None:
    delay = (events["received_at"] - events["event_at"]).dt.total_seconds() / 86_400
    assert delay.min() > 0
    assert delay[delay > 0.5].between(1, 3.01).all()
    assert delay[delay <= 0.5].max() < 0.01
    arrivals = sorted(path.stem[-10:] for path in (world / "drops").iterdir())
    assert date.fromisoformat(arrivals[-1]) <= DEFAULT_END_DATE + timedelta(days=LATEST_ARRIVAL_DAYS)
    assert LATEST_ARRIVAL_DAYS <= ARRIVAL_DAYS


def test_types_are_of_the_vocabulary_and_all_occur(events: pd.DataFrame) -> None:
    assert set(KINDS) <= set(EVENT_TYPES)
    assert set(events["event_type"]) == set(KINDS)


def test_the_funnel_goes_from_look_to_cart_to_checkout_to_purchase(events: pd.DataFrame) -> None:
    visits = events[events["session_id"].notna()]
    first = visits.pivot_table(
        index=["session_id", "item_id"], columns="event_type", values="event_at", aggfunc="min"
    )
    bought = first[first["purchase"].notna()]
    assert len(bought) > 100
    assert (bought["product_view"] < bought["add_to_cart"]).all()
    assert (bought["add_to_cart"] < bought["purchase"]).all()
    started = visits[visits["event_type"] == "checkout_start"].groupby("session_id")["event_at"].min()
    assert (
        started.reindex(bought.index.get_level_values(0)).to_numpy() < bought["purchase"].to_numpy()
    ).all()
    counts = events["event_type"].value_counts()
    assert counts["product_view"] > 3 * counts["add_to_cart"] > 3 * counts["purchase"]


def test_lines_of_an_order_share_visit_customer_and_instant(events: pd.DataFrame) -> None:
    orders = events[events["event_type"] == "purchase"].groupby("order_id")
    assert (orders[["session_id", "event_at"]].nunique() == 1).all().all()
    assert (orders["user_id"].nunique() <= 1).all()
    assert not orders["item_id"].apply(lambda items: items.duplicated().any()).any()
    assert orders.size().max() > 1


def test_a_visit_has_no_gap_that_would_end_it(events: pd.DataFrame) -> None:
    visits = events[events["session_id"].notna()].sort_values(["session_id", "event_at"])
    assert visits.groupby("session_id")["event_at"].diff().dt.total_seconds().max() < 1800


def test_returns_follow_their_purchase(events: pd.DataFrame) -> None:
    returns = events[events["event_type"] == "return"].set_index(["order_id", "item_id"])
    bought = events[events["event_type"] == "purchase"].set_index(["order_id", "item_id"])
    paired = returns.join(bought, rsuffix="_bought", how="left")
    assert len(returns) > 10
    assert (paired["event_at"] > paired["event_at_bought"]).all()
    assert (paired["quantity"] <= paired["quantity_bought"]).all()


def test_some_visitors_are_anonymous_and_have_a_session(events: pd.DataFrame) -> None:
    views = events[events["event_type"] == "product_view"]
    assert 0.1 < views["user_id"].isna().mean() < 0.3
    assert views["session_id"].notna().all()
    assert (views[["channel", "device_type"]].notna()).all().all()


def test_the_dead_do_nothing_and_nobody_acts_before_joining(world: Path, events: pd.DataFrame) -> None:
    truth = pd.read_parquet(world / "truth" / "users.parquet").set_index("user_id")
    acts = events[~events["event_type"].isin(["email_sent", "push_notification", "email_click"])]
    first = acts.dropna(subset=["user_id"]).groupby("user_id")["event_at"].min()
    assert (first >= truth["joined_at"].reindex(first.index) - pd.Timedelta(milliseconds=1)).all()
    visits = acts[acts["session_id"].notna()].dropna(subset=["user_id"])
    last_start = visits.groupby(["user_id", "session_id"])["event_at"].min().groupby("user_id").max()
    assert (last_start <= truth["alive_until"].reindex(last_start.index)).all()
    died = truth[
        (~truth["is_alive_at_end"]) & (truth["joined_at"] < pd.Timestamp(DEFAULT_END_DATE, tz="UTC"))
    ]
    assert 0.1 < len(died) / len(truth) < 0.7


def test_nothing_sells_while_it_is_out_of_stock(world: Path, events: pd.DataFrame) -> None:
    out = pd.read_parquet(world / "truth" / "stockouts.parquet")
    missing = set(zip(out["item_id"], out["day"], strict=True))
    carts = events[events["event_type"] == "add_to_cart"]
    visit_start = events.groupby("session_id")["event_at"].transform("min").dt.date
    sold = set(zip(carts["item_id"], visit_start[carts.index], strict=True))
    assert missing
    assert not sold & missing


def test_tastes_show_in_what_is_bought(world: Path, events: pd.DataFrame) -> None:
    users = pd.read_parquet(world / "truth" / "users.parquet").set_index("user_id")["taste"]
    items = pd.read_parquet(world / "truth" / "items.parquet").set_index("item_id")["taste"]
    bought = events[(events["event_type"] == "purchase") & events["user_id"].notna()]
    owner = np.stack(users.loc[bought["user_id"]].to_list())
    chosen = np.stack(items.loc[bought["item_id"]].to_list())
    others = chosen[np.random.default_rng(0).permutation(len(chosen))]
    assert (owner * chosen).sum(axis=1).mean() > (owner * others).sum(axis=1).mean() + 0.2


def test_text_and_attributes_tell_of_the_taste_vector(world: Path) -> None:
    items = pd.read_parquet(world / "items.parquet").set_index("item_id")
    taste = np.stack(
        pd.read_parquet(world / "truth" / "items.parquet").set_index("item_id")["taste"].loc[items.index]
    )
    style = items["attributes"].map(json.loads).str["style"].to_numpy()
    same = style[:, None] == style[None, :]
    similarity = taste @ taste.T
    np.fill_diagonal(same, False)
    assert similarity[same].mean() > similarity[~same].mean() + 0.15
    assert items["description"].str.len().min() > 20


def test_lower_prices_sell_more_where_the_truth_says_so(world: Path, events: pd.DataFrame) -> None:
    views = events[events["event_type"] == "product_view"]
    carts = events[events["event_type"] == "add_to_cart"]
    typical = views.groupby("item_id")["price"].transform("median")
    looks = views.assign(is_low=views["price"] < 0.92 * typical)
    taken = set(zip(carts["session_id"], carts["item_id"], strict=True))
    looks["is_taken"] = [pair in taken for pair in zip(looks["session_id"], looks["item_id"], strict=True)]
    rates = looks.groupby("is_low")["is_taken"].mean()
    assert rates[True] > 1.1 * rates[False]
    assert (pd.read_parquet(world / "truth" / "items.parquet")["elasticity"] < 0).all()


def test_hours_weeks_and_weekends_have_their_rhythm(events: pd.DataFrame) -> None:
    is_caused = events["session_id"].str.len().eq(11)
    views = events[(events["event_type"] == "product_view") & ~is_caused]["event_at"]
    hours = views.dt.hour.value_counts()
    assert hours.reindex([8, 13, 20]).min() > 2 * hours.reindex([2, 3]).max()
    per_weekday = views.dt.weekday.value_counts()
    assert per_weekday[5] > per_weekday[1]


def test_expected_spend_is_zero_for_the_dead_and_ranks_the_living(world: Path, events: pd.DataFrame) -> None:
    truth = pd.read_parquet(world / "truth" / "users.parquet").set_index("user_id")
    expected = truth[[f"expected_spend_{days}d" for days in (30, 90, 180, 365)]]
    assert (expected[~truth["is_alive_at_end"]] == 0).all().all()
    assert (np.diff(expected[truth["is_alive_at_end"]].to_numpy(), axis=1) > 0).all()
    bought = events[events["event_type"] == "purchase"]
    spent = (bought["price"] * bought["quantity"]).groupby(bought["user_id"]).sum()
    stayed = truth[
        truth["is_alive_at_end"] & (truth["joined_at"] < pd.Timestamp("2025-09-05", tz="UTC"))
    ].index
    assert spent.reindex(stayed).fillna(0).corr(expected.loc[stayed, "expected_spend_90d"], "spearman") > 0.5


def test_the_truth_is_apart_from_what_the_source_reads(world: Path, tmp_path: Path) -> None:
    for name in ("items.parquet", "customers.parquet"):
        columns = set(pq.read_schema(world / name).names)
        assert not columns & {"taste", "alive_until", "elasticity", "expected_spend_90d"}
    (tmp_path / "shop").mkdir()
    for file in world.rglob("*.*"):
        if "truth" not in file.parts:
            target = tmp_path / "shop" / file.relative_to(world)
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(file.read_bytes())
    land_days(Home(tmp_path / "home"), open_source("simulator", tmp_path / "shop"), [DEFAULT_END_DATE])


def test_any_window_lands_the_same_days_as_the_whole(
    world: Path, landed: tuple[Home, LandingReport], tmp_path: Path
) -> None:
    days = [DEFAULT_END_DATE - timedelta(days=number) for number in (0, 1, 17, 60)]
    part = land_days(Home(tmp_path), open_source("simulator", world), days)
    whole = {day.day: day for day in landed[1].days}
    assert part.days == [whole[day] for day in sorted(days)]


def test_only_drops_that_can_hold_the_days_are_read(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_source("simulator", world)
    read: list[date] = []
    original = type(source)._drop  # type: ignore[attr-defined]
    monkeypatch.setattr(type(source), "_drop", lambda self, day: read.append(day) or original(self, day))
    day = DEFAULT_END_DATE - timedelta(days=40)
    list(source.events([day]))
    assert min(read) == day
    assert max(read) <= day + timedelta(days=ARRIVAL_DAYS)


def test_simulating_again_replaces_the_world(tmp_path: Path) -> None:
    simulate(tmp_path, users=20, days=30, seed=1)
    simulate(tmp_path, users=20, days=10, seed=1)
    assert len(list((tmp_path / "drops").iterdir())) <= 10 + LATEST_ARRIVAL_DAYS
    assert open_source("simulator", tmp_path).days()[0] == DEFAULT_END_DATE - timedelta(days=9)


def test_a_tiny_world_works(tmp_path: Path) -> None:
    assert simulate(tmp_path / "w", users=1, days=1, seed=1).events >= 0
    assert land_days(Home(tmp_path / "h"), open_source("simulator", tmp_path / "w")).quarantined >= 0


def test_impossible_arguments_are_named(tmp_path: Path) -> None:
    with pytest.raises(WorldError, match="users=0"):
        simulate(tmp_path, users=0)
    with pytest.raises(WorldError, match="days=0"):
        simulate(tmp_path, days=0)


def test_a_folder_with_other_content_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious", encoding="utf-8")
    with pytest.raises(WorldError, match="holds something else"):
        simulate(tmp_path, users=10, days=10)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_unfinished_or_missing_world_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match="expected a simulated world"):
        open_source("simulator", tmp_path)
    simulate(tmp_path, users=10, days=5)
    (tmp_path / "world.json").write_text("{}", encoding="utf-8")
    with pytest.raises(SourceUnreadable, match=r"world\.json"):
        open_source("simulator", tmp_path)
    (tmp_path / "world.json").unlink()
    with pytest.raises(SourceMissing, match=r"world\.json"):
        open_source("simulator", tmp_path)


def test_what_campaigns_cause_is_in_the_world_and_in_the_truth(world: Path, events: pd.DataFrame) -> None:
    truth = pq.read_table(world / "truth" / "campaigns.parquet").to_pandas()
    caused = events[events["session_id"].str.len().eq(11)]
    bought = caused[caused["event_type"] == "purchase"]
    assert caused["session_id"].nunique() == truth["caused_visits"].sum() > 50
    assert (bought["quantity"] * bought["price"]).sum() == pytest.approx(truth["caused_revenue"].sum())
    assert set(truth["channel"]) == {"email", "push"}
    assert set(events["campaign_id"].dropna()) == set(truth["campaign_id"])


def test_who_is_held_out_of_a_campaign_gets_and_opens_nothing(world: Path, events: pd.DataFrame) -> None:
    truth = pq.read_table(world / "truth" / "campaigns.parquet").to_pandas()
    sent = events[events["event_type"].isin(["email_sent", "push_notification"])]
    held = events[events["event_type"] == "campaign_holdout"]
    assert len(held) / (len(held) + len(sent)) == pytest.approx(0.2, abs=0.03)
    assert (truth["treated_users"].sum(), truth["held_out_users"].sum()) == (len(sent), len(held))
    others = events[events["campaign_id"].notna() & (events["event_type"] != "campaign_holdout")]
    pairs = ["campaign_id", "user_id"]
    assert held.merge(others, on=pairs).empty


def test_marketing_costs_something_on_every_day(landed: tuple[Home, LandingReport]) -> None:
    spend = pq.read_table(landed[0].marketing_spend_file).to_pandas()
    assert spend.groupby("channel")["day"].nunique().to_dict() == dict.fromkeys(
        ("affiliate", "email", "search", "social"), DAYS
    )
    assert (spend["amount"] > 0).all()
