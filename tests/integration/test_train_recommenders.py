"""Recommenders from a published mart to a report, on a tiny world and, where it is there, on real data."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from training.candidates import BlendChoice, candidate_tables, write_candidates
from training.config import AlsConfig, BlendConfig, PopularityConfig
from training.errors import BrokenModel, MissingMart, NotEnoughData
from training.gate import decide
from training.interactions import read_bought, read_interactions
from training.recommenders import (
    Recipe,
    fit_recommender,
    load_recommender,
    make_fold,
    save_recommender,
    train_recommenders,
)

pytestmark = pytest.mark.integration

REAL = Path(__file__).parents[3] / "shared" / "data" / "online_retail_year1" / "transactions.parquet"
START = date(2026, 1, 1)
ALS = AlsConfig(factors=4, regularization=1.0)


def write_mart(directory: Path, rows: pd.DataFrame) -> str:
    """One file a day, as the marts are published."""
    directory.mkdir(parents=True, exist_ok=True)
    for day, part in rows.groupby("event_date"):
        with duckdb.connect() as connection:
            connection.register("part", part.assign(event_date=pd.to_datetime(part["event_date"])))
            connection.execute(
                f"copy (select * replace (event_date::date as event_date) from part) "
                f"to '{directory / f'{day}.parquet'}'"
            )
    return str(directory / "*.parquet")


def world(days: int = 60, users: int = 60, items: int = 24, seed: int = 5) -> pd.DataFrame:
    """Two tastes: a user buys within one half of the catalogue, some items again and again."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        favourites = user % 2 + 2 * rng.choice(items // 2, 3, replace=False)
        for day in sorted(rng.choice(days, 14, replace=False)):
            own = rng.random() < 0.5
            item = rng.choice(favourites) if own else user % 2 + 2 * rng.integers(items // 2)
            rows.append((f"u{user:03}", f"i{item:03}", START + timedelta(days=int(day)), 1, 5.0))
    columns = ["user_id", "item_id", "event_date", "purchase_count", "strength"]
    return pd.DataFrame(rows, columns=columns).drop_duplicates(columns[:3])


@pytest.fixture(scope="module")
def mart(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_mart(tmp_path_factory.mktemp("marts") / "interactions_daily", world())


def test_reading_stops_before_the_cut_off_and_labels_start_at_it(mart: str) -> None:
    cutoff = START + timedelta(days=30)
    train = read_interactions(mart, cutoff)
    users, items = read_bought(mart, cutoff, cutoff + timedelta(days=10))
    frame = world()
    before = frame[frame["event_date"] < cutoff]
    after = frame[(frame["event_date"] >= cutoff) & (frame["event_date"] < cutoff + timedelta(days=10))]
    assert len(train) == len(before)
    assert train.age_days.min() == 0.0
    assert set(zip(users, items, strict=True)) == set(zip(after["user_id"], after["item_id"], strict=True))


def test_future_events_never_change_what_training_sees(tmp_path: Path) -> None:
    cutoff = START + timedelta(days=30)
    frame = world()
    past = write_mart(tmp_path / "past", frame[frame["event_date"] < cutoff])
    whole = write_mart(tmp_path / "whole", frame)
    seen, again = read_interactions(past, cutoff), read_interactions(whole, cutoff)
    assert seen.users == again.users and seen.items == again.items
    assert (seen.strengths(60.0) != again.strengths(60.0)).nnz == 0


def test_a_mart_that_is_absent_or_lacks_a_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingMart, match="interactions_daily"):
        read_interactions(str(tmp_path / "*.parquet"), START)
    pattern = write_mart(tmp_path / "other", world().drop(columns="strength"))
    with pytest.raises(MissingMart, match="strength"):
        read_interactions(pattern, START + timedelta(days=30))


def test_a_cut_off_before_all_data_or_after_it_is_an_error_with_a_remedy(mart: str) -> None:
    with pytest.raises(NotEnoughData, match="later cut-off"):
        read_interactions(mart, START)
    with pytest.raises(NotEnoughData, match="earlier cut-off"):
        make_fold(mart, START + timedelta(days=300), 10, 100, 1)


def test_products_that_training_never_saw_count_as_misses(tmp_path: Path) -> None:
    frame = world()
    cutoff = START + timedelta(days=50)
    extra = pd.DataFrame([("u000", "launched today", cutoff, 1, 5.0)], columns=frame.columns)
    fold = make_fold(write_mart(tmp_path, pd.concat([frame, extra])), cutoff, 10, 1000, 1)
    assert fold.unknown_labels.sum() == 1
    assert fold.unknown_labels[fold.users.tolist().index(fold.train.users.position["u000"])] == 1


def test_a_run_reports_every_recommender_on_one_fold_and_passes_the_gate(mart: str) -> None:
    result = train_recommenders(
        mart,
        {f"i{item:03}": str(item % 2) for item in range(24)},
        cutoff=START + timedelta(days=45),
        horizon_days=15,
        als=ALS,
        blend_config=BlendConfig(),
        popularity=PopularityConfig(recent_days=10),
        seed=1,
        champion=Recipe(ALS, BlendChoice(0.4), 1),
    )
    roles = {row.name: row.role for row in result.report.rows}
    assert roles == {
        "released": "candidate",
        "blend": "candidate",
        "als": "candidate",
        "als_trend": "candidate",
        "buy_again": "baseline",
        "popularity": "baseline",
        "popularity_recent": "baseline",
        "popularity_by_category": "baseline",
        "champion": "champion",
    }
    recall = {row.name: row.metrics["all_recall_at_20"].value for row in result.report.rows}
    assert all(0.0 <= value <= 1.0 for value in recall.values())
    assert "new_recall_at_20" not in result.report.row("buy_again").metrics
    assert result.validation[0]["weight"] == 0.0
    assert set(result.recall_by_depth["als"]) == {5, 10, 20, 50, 100}
    assert {check.name for check in decide(result.report, True).checks} >= {"validation", "beats_buy_again"}


def test_a_model_survives_its_files_and_a_broken_one_is_named(mart: str, tmp_path: Path) -> None:
    recipe = Recipe(ALS, BlendChoice(0.4, 180.0, 0.2), 1)
    interactions, fitted = fit_recommender(mart, START + timedelta(days=60), recipe)
    save_recommender(fitted, tmp_path / "model")
    loaded = load_recommender(tmp_path / "model")

    assert loaded.recipe == recipe
    everybody = np.arange(len(interactions.users))
    np.testing.assert_array_equal(
        loaded.scorer(interactions).scores(everybody), fitted.scorer(interactions).scores(everybody)
    )
    (tmp_path / "model" / "item_factors.npy").write_bytes(b"nothing")
    with pytest.raises(BrokenModel, match="item_factors.npy"):
        load_recommender(tmp_path / "model")
    (tmp_path / "model" / "recommender.json").write_text("{}")
    with pytest.raises(BrokenModel, match="recommender.json"):
        load_recommender(tmp_path / "model")


def test_candidates_are_written_for_every_user_and_replaced_whole(mart: str, tmp_path: Path) -> None:
    as_of = START + timedelta(days=60)
    interactions, fitted = fit_recommender(mart, as_of, Recipe(ALS, BlendChoice(0.4), 1))
    path = tmp_path / "user_candidates" / "part.parquet"
    now = datetime(2026, 3, 2, tzinfo=UTC)

    def write(release_id: str) -> int:
        tables = candidate_tables(
            interactions,
            fitted.scorer(interactions),
            BlendConfig(length=10, new_length=5),
            feature_at=now,
            release_id=release_id,
            generated_at=now,
        )
        return write_candidates(path, tables)

    assert write("first") == write("second") == len(interactions.users)
    found = pq.read_table(path).to_pylist()
    assert [row["user_id"] for row in found] == list(interactions.users.ids)
    assert {row["release_id"] for row in found} == {"second"}
    assert {len(row["item_ids"]) for row in found} == {10}
    assert [entry.name for entry in path.parent.iterdir()] == ["part.parquet"]


@pytest.mark.skipif(not REAL.exists(), reason="needs shared/data/online_retail_year1")
def test_on_real_data_als_clears_its_bars_and_the_released_list_is_not_below_buying_again(
    tmp_path: Path,
) -> None:
    path = tmp_path / "all.parquet"
    with duckdb.connect(config={"threads": 2}) as connection:
        connection.execute(
            rf"""copy (
                select customer_id::varchar as user_id, stock_code as item_id,
                       invoice_date::date as event_date, count(*) as purchase_count,
                       5.0 * count(*) as strength
                from '{REAL}'
                where regexp_matches(stock_code, '^\d{{5}}[A-Za-z]*$') and quantity > 0 and unit_price > 0
                  and customer_id is not null and invoice_no not like 'C%'
                group by all
            ) to '{path}'"""
        )
    result = train_recommenders(
        str(path),
        {},
        cutoff=date(2010, 9, 1),
        horizon_days=91,
        als=AlsConfig(),
        blend_config=BlendConfig(),
        popularity=PopularityConfig(),
        seed=0,
    )
    als, released, again = (result.report.row(name).metrics for name in ("als", "released", "buy_again"))
    assert als["all_recall_at_20"].value >= 0.165
    assert als["all_ndcg_at_20"].value >= 0.28
    assert als["new_recall_at_20"].value >= 0.076
    assert released["all_recall_at_20"].value >= again["all_recall_at_20"].value
    assert released["all_ndcg_at_20"].value >= again["all_ndcg_at_20"].value
    assert decide(result.report, True).promoted
