"""The recommendation log as evaluation needs it: impressions with their rewards, and lists as policies."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_repo.events import EVENT_SCHEMA
from training.errors import NotEnoughData
from training.logged_decisions import (
    examination,
    explored_places,
    judge_lists,
    list_policy,
    read_impressions,
)
from training.off_policy import evaluate_policy, policy_difference

DAY = date(2026, 1, 5)
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


def event(kind: str, hours: float, **values: Any) -> dict[str, Any]:
    at = NOON + timedelta(hours=hours)
    context = values.pop("context", None)
    return {
        "event_id": f"{kind}-{hours}-{values.get('item_id')}",
        "event_type": kind,
        "event_at": at,
        "received_at": at,
        "channel": "web",
        "context": None if context is None else json.dumps(context),
        **values,
    }


def served(
    item: str, position: int, propensity: float | None, decision: str = "d1", **more: Any
) -> dict[str, Any]:
    context = {"position": position, "propensity": propensity, "kind": "recommendations", "release": "r1"}
    return event("recommendation_served", 0.0, user_id="u1", item_id=item, recommendation_id=decision,
                 context={**context, **more})  # fmt: skip


def landed(folder: Path, events: list[dict[str, Any]]) -> Path:
    for day in sorted({row["event_at"].date() for row in events}):
        rows = [row for row in events if row["event_at"].date() == day]
        table = pa.Table.from_pylist(rows, schema=EVENT_SCHEMA)
        path = folder / f"event_date={day}" / "events.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(table, path)
    return folder


def test_impressions_carry_their_clicks_and_later_purchases(tmp_path: Path) -> None:
    events = landed(
        tmp_path,
        [
            served("a", 1, 0.95),
            served("b", 2, 0.0025),
            served("c", 3, 0.95),
            event("recommendation_click", 0.1, user_id="u1", item_id="b", recommendation_id="d1"),
            event("purchase", 30.0, user_id="u1", item_id="b", quantity=2.0, price=5.0),
            event("purchase", -1.0, user_id="u1", item_id="a", quantity=1.0, price=9.0),
            event("purchase", 24.0 * 8, user_id="u1", item_id="c", quantity=1.0, price=9.0),
            event("purchase", 1.0, user_id="u2", item_id="c", quantity=1.0, price=9.0),
        ],
    )
    rows = read_impressions(events, DAY, DAY + timedelta(days=1))
    assert rows["item_id"].tolist() == ["a", "b", "c"]
    assert rows["clicked"].tolist() == [False, True, False]
    assert rows["bought"].tolist() == [False, True, False]
    assert rows["revenue"].tolist() == [0.0, 10.0, 0.0]
    assert rows["propensity"].tolist() == [0.95, 0.0025, 0.95]
    assert rows["release"].tolist() == ["r1"] * 3


def test_other_kinds_and_items_without_propensity_are_left_out(tmp_path: Path) -> None:
    events = landed(
        tmp_path, [served("a", 1, None), served("b", 2, 0.5, kind="bundles"), served("c", 3, 0.95)]
    )
    assert read_impressions(events, DAY, DAY + timedelta(days=1))["item_id"].tolist() == ["c"]


def test_days_without_a_log_give_no_rows_but_the_same_columns(tmp_path: Path) -> None:
    rows = read_impressions(tmp_path, DAY, DAY + timedelta(days=1))
    assert rows.empty
    assert {"user_id", "item_id", "position", "propensity", "clicked", "revenue"} <= set(rows.columns)


def test_places_count_what_was_open_to_exploration() -> None:
    frame = pd.DataFrame(
        {
            "recommendation_id": ["d1", "d1", "d1", "d2"],
            "position": [1, 2, 3, 1],
            "propensity": [1.0, 0.95, 0.0025, 1.0],
        }
    )
    rows = explored_places(frame)
    assert rows["position"].tolist() == [2, 3]
    assert rows["place"].tolist() == [1, 2]


def shown(seed: int, decisions: int, decay: float) -> pd.DataFrame:
    """Two ranked places [a, b], half a list explored over [c, d]; only d appeals much. As `explore` draws."""
    rng = np.random.default_rng(seed)
    appeal = {"a": 0.3, "b": 0.3, "c": 0.1, "d": 0.8}
    rows = []
    for number in range(decisions):
        tail = list(rng.permutation(["c", "d"]))
        for place, ranked in enumerate(["a", "b"], 1):
            is_drawn = rng.random() < 0.4
            item = str(tail.pop()) if is_drawn else ranked
            propensity = 0.2 if is_drawn else 0.6
            clicked = rng.random() < appeal[item] * place**-decay
            rows.append((f"d{number}", f"u{number}", place, item, place, propensity, clicked))
    names = ["recommendation_id", "user_id", "position", "item_id", "place", "propensity", "clicked"]
    return pd.DataFrame(rows, columns=names)


def test_examination_finds_how_fast_looks_fall_off() -> None:
    assert examination(shown(1, 6000, decay=1.5)) == pytest.approx(1.5, abs=0.25)
    assert examination(shown(1, 6000, decay=0.5)) == pytest.approx(0.5, abs=0.25)


def test_without_exploration_examination_is_the_usual_one() -> None:
    rows = shown(1, 50, decay=1.0)
    assert examination(rows[rows["propensity"] > 0.5]) == pytest.approx(1.0)


@pytest.mark.parametrize("method", ["ips", "snips", "dr"])
def test_a_list_is_valued_as_if_it_had_been_shown(method: str) -> None:
    rows = shown(2, 4000, decay=1.0)
    lists = {user: ["d", "a"] for user in rows["user_id"].unique()}
    policy = list_policy(rows, lists)
    truth = (0.8 * 1.0 + 0.3 * 0.5) / 2
    result = evaluate_policy(policy.logged, policy.target, method)  # type: ignore[arg-type]
    assert result.low <= truth <= result.high
    assert result.estimate == pytest.approx(truth, rel=0.1)
    assert not result.abstains
    assert result.support == pytest.approx(1.0, abs=0.1)
    gain = policy_difference(policy.logged, policy.target, policy.served, method)  # type: ignore[arg-type]
    assert gain.low > 0.0


def test_a_list_of_what_was_never_shown_abstains() -> None:
    rows = shown(3, 2000, decay=1.0)
    lists = {user: ["d", "never"] for user in rows["user_id"].unique()}
    policy = list_policy(rows, lists, decay=1.0)
    result = evaluate_policy(policy.logged, policy.target, "dr")
    assert result.support == pytest.approx(2 / 3, abs=0.1)
    assert result.abstains


def test_better_lists_are_worth_more_than_what_was_served() -> None:
    rows = shown(2, 4000, decay=1.0)
    values = judge_lists(rows, {user: ["d", "a"] for user in rows["user_id"].unique()})
    assert values.candidate.low > values.served.high
    assert values.gain.low > 0.0
    assert values.served.estimate == pytest.approx(rows["clicked"].mean(), abs=0.01)
    assert str(values.candidate) in values.notes[0]


def test_users_without_a_list_are_left_out() -> None:
    rows = shown(4, 10, decay=1.0)
    assert len(list_policy(rows, {"u3": ["a"]}).logged) == 2
    with pytest.raises(NotEnoughData, match="users with a list"):
        list_policy(rows, {"stranger": ["a"]})
