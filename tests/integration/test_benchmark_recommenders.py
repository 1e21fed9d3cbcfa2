"""The harness on tiny files, one of each protocol: lists that anybody can score, and errors that help."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.recommenders import main

pytestmark = pytest.mark.integration
QUICK = ["--tune-seconds", "0", "--seeds", "1", "--ranker-folds", "1", "-k", "10"]


def baskets() -> pd.DataFrame:
    """Users who buy two of their own four products, all of one colour, every ten days."""
    rng = np.random.default_rng(3)
    rows = []
    for user in range(80):
        liked = rng.permutation(np.arange(user % 2, 20, 2))[:4]
        for visit in range(6):
            day = pd.Timestamp("2024-01-01", tz="UTC") + pd.Timedelta(days=10 * visit + user % 5)
            rows += [(f"u{user}", f"i{item}", day, 1) for item in rng.choice(liked, 2, replace=False)]
    return pd.DataFrame(rows, columns=["user_id", "item_id", "event_at", "quantity"])


def recall_of(lists: pd.DataFrame, truth: pd.DataFrame, k: int) -> float:
    """Scored from the files alone, as a stranger would."""
    top = lists[lists["rank"] <= k].groupby("user_id")["item_id"].agg(set)
    wanted = truth.groupby("user_id")["item_id"].agg(set)
    return float(np.mean([len(top[user] & wanted[user]) / len(wanted[user]) for user in wanted.index]))


def test_global_time_writes_lists_whose_recall_is_the_printed_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = baskets()
    rows.to_parquet(tmp_path / "orders.parquet")
    arguments = ["--data", str(tmp_path), "--protocol", "global-time", "--cutoff", "2024-02-15"]
    outputs = ["--json", str(tmp_path / "table.json"), "--out", str(tmp_path / "lists.pq")]
    assert main([*arguments, *outputs, *QUICK]) == 0
    printed = capsys.readouterr().out
    assert "new to the user only" in printed
    table = json.loads((tmp_path / "table.json").read_text())["folds"][0]["rows"]
    final = next(row for row in table if row["name"] == "final" and row["scope"] == "all")
    later = rows[rows["event_at"] >= "2024-02-15"].drop_duplicates(["user_id", "item_id"])
    lists = pd.read_parquet(tmp_path / "lists.pq")
    assert list(lists.columns) == ["user_id", "item_id", "rank", "score"]
    assert not lists.duplicated(["user_id", "item_id"]).any()
    assert lists.groupby("user_id")["score"].apply(lambda each: each.is_monotonic_decreasing).all()
    assert recall_of(lists, later, 10) == pytest.approx(final["metrics"]["recall_at_10"]["value"])
    assert {row["name"] for row in table} >= {"popularity", "neighbours", "buy_again", "blend", "ranker"}


def test_leave_last_out_holds_out_whole_baskets_of_a_single_file(tmp_path: Path) -> None:
    rows = baskets()
    rows["position"] = rows.groupby("user_id")["event_at"].rank("dense").astype(int)
    path = tmp_path / "orders.parquet"
    rows.drop(columns=["event_at", "quantity"]).to_parquet(path)
    out = tmp_path / "lists.pq"
    assert main(["--data", str(path), "--protocol", "leave-last-out", "--out", str(out), *QUICK]) == 0
    last = rows[rows["position"] == 6]
    assert recall_of(pd.read_parquet(out), last, 4) > 0.95


def test_a_given_split_of_pairs_excludes_what_is_known_and_answers_strangers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = [(user, item) for user in range(60) for item in range(user % 2, 30, 2)]
    frame = pd.DataFrame(pairs, columns=["user_id", "item_id"]).sample(frac=1, random_state=1)
    held = frame.groupby("user_id").head(3)
    frame.drop(held.index).to_parquet(tmp_path / "my_train.parquet")
    stranger = pd.DataFrame({"user_id": [999], "item_id": [1]})
    pd.concat([held, stranger]).to_parquet(tmp_path / "my_test.parquet")
    out = tmp_path / "lists.pq"
    arguments = ["--data", str(tmp_path), "--protocol", "given-split", "--out", str(out)]
    assert main([*arguments, *QUICK]) == 0
    assert "items taken before are excluded" in capsys.readouterr().out
    lists = pd.read_parquet(out)
    assert lists["user_id"].dtype == np.int64
    known = frame.drop(held.index).merge(lists, on=["user_id", "item_id"])
    assert known.empty
    assert recall_of(lists[lists["user_id"] < 999], held, 3) > 0.95
    assert (lists["user_id"] == 999).any()


@pytest.mark.parametrize(
    ("columns", "arguments", "message"),
    [
        (["customer", "item_id"], ["--protocol", "given-split"], "named with 'test'"),
        (["customer", "item_id"], ["--protocol", "leave-last-out"], "lacks column 'user_id'"),
        (["user_id", "item_id"], ["--protocol", "global-time"], "neither event_at nor position"),
    ],
)
def test_files_that_cannot_be_measured_are_refused_with_the_remedy(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    columns: list[str],
    arguments: list[str],
    message: str,
) -> None:
    pd.DataFrame([[1, 2], [3, 4]], columns=columns).to_parquet(tmp_path / "some.parquet")
    assert main(["--data", str(tmp_path), *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "some.parquet" in error or str(tmp_path) in error
    assert "--" in error
