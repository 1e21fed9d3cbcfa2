"""Item matrices outlive the process: the scorer of a kept matrix scores as the fitted one."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.unit.training.test_hybrid import ALS, shop
from tests.unit.training.test_updates import SOURCES, order
from training import collaborative, item_matrices
from training.hybrid import HybridScorer
from training.item_matrices import ItemMatrices
from training.sources.history import history_from_interactions
from training.sources.linear import EaseConfig, GraphFilterConfig, TransitionsConfig
from training.two_stage import Plan

HISTORY = history_from_interactions(shop())
USERS = np.arange(HISTORY.shape[0])
LINEAR = (GraphFilterConfig(), TransitionsConfig(), EaseConfig())


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_a_source_scores_alike_whether_fitted_or_kept(source, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    fitted = source.fit(HISTORY, 1).scores(USERS)
    first = ItemMatrices(tmp_path, HISTORY, 1).fit(source).scores(USERS)
    kept = ItemMatrices(tmp_path, HISTORY, 1).fit(source).scores(USERS)
    np.testing.assert_array_equal(first, fitted)
    np.testing.assert_array_equal(kept, fitted)


@pytest.mark.parametrize("source", LINEAR, ids=lambda source: source.name)
def test_a_kept_matrix_is_not_formed_again(
    source: EaseConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ItemMatrices(tmp_path, HISTORY, 1).fit(source)
    monkeypatch.setattr(type(source), "fit", lambda *_: pytest.fail("it was formed again"))
    ItemMatrices(tmp_path, HISTORY, 1).fit(source)


@pytest.mark.parametrize("source", LINEAR, ids=lambda source: source.name)
@pytest.mark.parametrize("damage", ["short", "missing"])
def test_a_damaged_matrix_is_formed_again(
    source: EaseConfig, damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fitted = ItemMatrices(tmp_path, HISTORY, 1).fit(source).scores(USERS)
    file = max(tmp_path.glob("*/*.npy"), key=lambda path: path.stat().st_size)
    file.unlink() if damage == "missing" else os.truncate(file, 200)
    again = ItemMatrices(tmp_path, HISTORY, 1).fit(source).scores(USERS)
    np.testing.assert_array_equal(again, fitted)
    assert "formed again" in caplog.text
    caplog.clear()
    ItemMatrices(tmp_path, HISTORY, 1).fit(source)
    assert not caplog.text


def test_another_history_seed_or_setting_is_another_matrix(tmp_path: Path) -> None:
    other = replace(HISTORY, at=HISTORY.at + 1.0)
    for history, seed, source in (
        (HISTORY, 1, EaseConfig()),
        (other, 1, EaseConfig()),
        (HISTORY, 2, EaseConfig()),
        (HISTORY, 1, EaseConfig(regularization=1.0)),
    ):
        ItemMatrices(tmp_path, history, seed).fit(source)
    assert len(list(tmp_path.iterdir())) == 4


def test_what_is_not_needed_any_more_is_removed(tmp_path: Path) -> None:
    ItemMatrices(tmp_path, HISTORY, 1).fit(EaseConfig())
    (tmp_path / ".half-written").mkdir()
    matrices = ItemMatrices(tmp_path, HISTORY, 2)
    matrices.fit(EaseConfig())
    matrices.forget_others()
    assert len(list(tmp_path.iterdir())) == 1
    assert next(tmp_path.iterdir()).name[0] != "."


def test_a_matrix_that_is_too_large_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_matrices, "MOST_BYTES", 10)
    for source in LINEAR:
        ItemMatrices(tmp_path, HISTORY, 1).fit(source)
    assert list(tmp_path.iterdir()) == []


def test_the_released_scorer_scores_alike_with_a_folder(tmp_path: Path) -> None:
    known = shop()
    plan = Plan(SOURCES, False, 0.5, 20, {"all": order(SOURCES), "new": order(SOURCES)})
    scorer = HybridScorer(known, collaborative.fit(known, ALS, 1).factors, plan, 1)
    for _ in range(2):
        np.testing.assert_array_equal(replace(scorer, kept=tmp_path).scores(USERS), scorer.scores(USERS))
    assert len(list(tmp_path.iterdir())) == len(LINEAR)
