"""A day's update of the candidates: who did nothing keeps the list, and the shortcut changes nobody's."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa

from feature_repo.layout import Home
from orchestration.completion import Scored, forget_scored, last_scored, note_scored
from orchestration.data import Data
from orchestration.predicting import MARK, Ranked, rank_changed
from tests.unit.training.test_hybrid import ALS
from tests.unit.training.test_updates import SINCE, changed, order, today
from training import collaborative
from training.candidates import BlendChoice, candidate_tables
from training.config import BlendConfig
from training.recommenders import Recipe, Recommender
from training.sources.habits import BuyAgainConfig, PopularityConfig
from training.sources.linear import GraphFilterConfig
from training.two_stage import Plan
from training.updates import fingerprints, known_before

SOURCES = (GraphFilterConfig(), BuyAgainConfig(), PopularityConfig())
UNTIL = date(2026, 3, 10)
LAST = Scored("7", date(2026, 3, 10 - SINCE), date(2026, 3, 10 - SINCE))


def marks_of(interactions: Any) -> pa.Table:
    return pa.table({"user_id": list(interactions.users.ids), MARK: fingerprints(interactions)})


def update(folder: Path, marks_before: pa.Table, kept: pa.Table | None = None) -> tuple[pa.Table, Ranked]:
    """The candidates of the day of the fit, and those of `SINCE` days later, `kept` being what lies there."""
    known = known_before(today(), SINCE)
    plan = Plan(SOURCES, False, 0.5, 20, {"all": order(SOURCES), "new": order(SOURCES)})
    recommender = Recommender(
        collaborative.fit(known, ALS, 1).factors, Recipe(ALS, BlendChoice(0.4), 1, plan)
    )
    at = datetime(2026, 3, 9, tzinfo=UTC)
    scorer = recommender.scorer(known)
    before = pa.concat_tables(
        candidate_tables(known, scorer, BlendConfig(), feature_at=at, release_id="r1", generated_at=at)
    )
    data = Data(Home(folder), cast(Any, None), date(2026, 1, 1), UNTIL)
    kept = before if kept is None else kept
    return before, rank_changed(today(), recommender, data, "r2", LAST, marks_of(today()), kept, marks_before)


def lists(table: pa.Table) -> dict[str, tuple[list[str], list[str]]]:
    return {row["user_id"]: (row["item_ids"], row["seen"]) for row in table.to_pylist()}


def test_only_changed_users_are_ranked_again_and_the_others_keep_their_lists(tmp_path: Path) -> None:
    before, found = update(tmp_path, marks_of(known_before(today(), SINCE)))
    assert found.rescored == changed().sum() < len(changed())
    old, new = lists(before), lists(found.candidates)
    same = np.array(today().users.ids)[~changed()]
    assert [new[user] for user in same] == [old[user] for user in same]
    assert set(new) == set(today().users.ids)
    assert "i999" in new["u005"][1]


def test_the_shortcut_gives_the_lists_that_ranking_everybody_again_gives(tmp_path: Path) -> None:
    _, found = update(tmp_path, marks_of(known_before(today(), SINCE)))
    _, everybody = update(
        tmp_path, pa.table({"user_id": pa.array([], pa.string()), MARK: pa.array([], pa.int64())})
    )
    assert everybody.rescored == len(today().users)
    assert lists(found.candidates) == lists(everybody.candidates)


def test_a_list_that_two_versions_drafted_is_ranked_again(tmp_path: Path) -> None:
    marks = marks_of(known_before(today(), SINCE))
    before, alone = update(tmp_path, marks)
    user = np.flatnonzero(~changed())[0]
    names = before["algorithms"].to_pylist()
    names[before["user_id"].to_pylist().index(today().users.ids[user])] = ["collaborative@3"]
    column = before.schema.get_field_index("algorithms")
    drafted = before.set_column(column, before.schema.field(column), pa.array(names))
    _, found = update(tmp_path, marks, drafted)
    assert found.rescored == alone.rescored + 1


def test_kept_lists_belong_to_the_new_release_and_instant(tmp_path: Path) -> None:
    _, found = update(tmp_path, marks_of(known_before(today(), SINCE)))
    assert set(found.candidates["release_id"].to_pylist()) == {"r2"}
    assert set(found.candidates["feature_at"].to_pylist()) == {datetime(2026, 3, 11, tzinfo=UTC)}
    assert found.scored == Scored("7", LAST.fitted_until, UNTIL)


def test_what_was_scored_last_is_noted_and_forgotten(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert last_scored(home) is None
    note_scored(home, LAST)
    assert last_scored(home) == LAST
    forget_scored(home)
    assert last_scored(home) is None
