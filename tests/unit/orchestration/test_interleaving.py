"""Lists that two versions drafted: who gets them, what they say, and whom the clicks prefer."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from orchestration.assets.monitoring import contest_result
from orchestration.data import Data
from orchestration.interleaving import Contest, Rivals, are_drafted, contest, draft_lists, interleave, players
from tests.unit.training.test_hybrid import shop
from training.candidates import CANDIDATE_SCHEMA
from training.experiments.interleaving import preference
from training.interactions import Interactions
from training.registry import ModelVersion
from training.top_items import Scores

VERSIONS = Rivals(
    ModelVersion("collaborative", "7", "run", ""), ModelVersion("collaborative", "8", "another", "")
)
AT = datetime(2026, 3, 1, tzinfo=UTC)


class Backwards:
    """Recommends the last items of the catalogue first."""

    name = "backwards"

    def __init__(self, items: int) -> None:
        self.items = items

    def scores(self, users: Any) -> Scores:
        return np.tile(np.arange(self.items, dtype=np.float32), (len(users), 1))


def champions(known: Interactions, length: int = 6) -> pa.Table:
    """The first items of the catalogue for everybody."""
    row = {
        "feature_at": AT,
        "item_ids": list(known.items.ids[:length]),
        "scores": [1.0 - place / 10 for place in range(length)],
        "algorithms": ["popular"] * length,
        "seen": [],
        "release_id": "r1",
        "generated_at": AT,
    }
    return pa.Table.from_pylist([{"user_id": user, **row} for user in known.users.ids], CANDIDATE_SCHEMA)


def drafted(users: list[int]) -> tuple[pa.Table, pa.Table]:
    known = shop()
    before = champions(known)
    challenger = Backwards(len(known.items))
    positions = np.array(users, dtype=np.int64)
    return before, draft_lists(before, known, challenger, VERSIONS, positions, seed=1)


def test_both_draft_three_of_six_and_each_item_says_who() -> None:
    known = shop()
    _, after = drafted([4, 9])
    for user in (4, 9):
        row = after.to_pylist()[user]
        teams = {
            item: name.split("@")[1] for item, name in zip(row["item_ids"], row["algorithms"], strict=True)
        }
        assert [item for item, team in teams.items() if team == "7"] == list(known.items.ids[:3])
        assert [item for item, team in teams.items() if team == "8"] == list(known.items.ids[:-4:-1])


def test_an_item_of_the_challenger_is_named_by_what_the_customer_did() -> None:
    known = shop()
    _, after = drafted(list(range(20)))
    for user, row in enumerate(after.to_pylist()[:20]):
        history = {known.items.ids[item] for item in known.bought[user].indices}
        for item, name in zip(row["item_ids"], row["algorithms"], strict=True):
            if name.endswith("@8"):
                assert name == ("buy_again@8" if item in history else "collaborative@8")


def test_places_keep_their_scores_and_other_customers_their_lists() -> None:
    before, after = drafted([4])
    assert after["scores"] == before["scores"]
    assert after.schema == before.schema
    assert [row for user, row in enumerate(after.to_pylist()) if user != 4] == [
        row for user, row in enumerate(before.to_pylist()) if user != 4
    ]
    assert np.flatnonzero(are_drafted(after)).tolist() == [4]


def test_the_same_customers_play_every_day_and_as_many_as_wanted() -> None:
    known = shop()
    half = players(known, 0.5, "8")
    assert half.tolist() == players(known, 0.5, "8").tolist() != players(known, 0.5, "9").tolist()
    everybody = players(known, 1.0, "8")
    assert set(half) < set(everybody)
    assert len(half) / len(everybody) == pytest.approx(0.5, abs=0.15)
    assert players(known, 0.0, "8").tolist() == []


def test_without_a_share_or_a_challenger_nothing_changes() -> None:
    known = shop()
    registry = SimpleNamespace(
        champion=lambda kind: VERSIONS.champion, challenger=lambda kind: VERSIONS.champion
    )
    models = cast(Any, SimpleNamespace(open=lambda: registry))
    before, unread = champions(known), cast(Data, None)
    assert interleave(before, unread, models, 0.0, 1) is before
    assert interleave(before, unread, models, 0.5, 1) is before


def shown(clicked_team: str, visitors: int) -> pd.DataFrame:
    """A list of each visitor, with a click on an item of one team; and one list of the champion alone."""
    rows = [
        {
            "recommendation_id": f"d{visitor}",
            "user_id": f"u{visitor}",
            "algorithm": f"collaborative@{team}",
            "clicked": team == clicked_team,
        }
        for visitor in range(visitors)
        for team in ("7", "8")
    ]
    alone = [
        {"recommendation_id": "x", "user_id": "u0", "algorithm": name, "clicked": True}
        for name in ("collaborative", None, "collaborative@7", "collaborative@6")
    ]
    return pd.DataFrame([*rows, *alone])


@pytest.mark.parametrize(("team", "sign"), [("8", 1), ("7", -1)])
def test_clicks_prefer_whose_items_they_are_on(team: str, sign: int) -> None:
    found = contest(shown(team, 30), "7", "8")
    assert (found.lists, found.found) == (30, preference(range(30), [sign < 0] * 30, [sign > 0] * 30))
    assert found.challenger_is_preferred == (sign > 0)
    assert contest_result(found).passed == (sign < 0)
    assert "30 visitors clicked on one of 30 lists" in str(found)


def test_without_clicks_nobody_is_preferred() -> None:
    found = contest(shown("none", 30), "7", "8")
    assert found == Contest("7", "8", 30, None)
    assert contest_result(found).passed
    assert "too few visitors clicked" in str(found)
    assert contest_result(None).passed
