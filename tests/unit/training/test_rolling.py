"""Recipes on rolling folds, on a shop whose right answer is known."""

from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pytest
from scipy import sparse

from tests.unit.training.shop import checkerboard
from training import rolling
from training.candidates import BlendChoice
from training.config import AlsConfig
from training.evidence import FoldFigure
from training.recommenders import Fold, Recipe

RECIPE = Recipe(AlsConfig(factors=2, regularization=0.1), BlendChoice(1.0, None, 0.0, 30, 3.0), 1)
MEASURED = FoldFigure(datetime(2026, 1, 1, tzinfo=UTC), 0.5, 0.4)


@pytest.fixture
def fold() -> Fold:
    """Everybody buys the one item of their colour that they lacked."""
    shop = checkerboard(40)
    users = np.arange(40, dtype=np.int64)
    labels = sparse.csr_matrix(sparse.eye(40, dtype=np.float32))
    return Fold(date(2026, 1, 31), date(2026, 2, 28), shop, users, labels, np.zeros(40, np.int64), 40)


def test_a_fold_tells_both_recipes_and_the_gain_over_buying_again(
    fold: Fold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rolling, "make_fold", lambda *_: fold)
    alone = replace(RECIPE, choice=replace(RECIPE.choice, weight=0.0))
    found = rolling.recommender_folds("", date(2025, 1, 1), fold.cutoff, 28, 2, RECIPE, alone, MEASURED)
    assert len(found) == 2
    assert found[-1] is MEASURED
    first = found[0]
    assert first.champion is not None
    assert first.candidate > first.champion
    assert first.over_buy_again is not None
    assert first.over_buy_again.value == pytest.approx(first.candidate - first.champion)
    assert "over buying again" in str(first)


def test_nothing_is_fitted_without_history_or_champion_or_for_the_champions_own_recipe() -> None:
    start = date(2026, 1, 1)
    other = replace(RECIPE, seed=2)
    assert rolling.recommender_folds("", start, start, 28, 4, RECIPE, other, MEASURED) == [MEASURED]
    assert rolling.recommender_folds("", start, start, 28, 4, RECIPE, None, MEASURED) == []
    assert rolling.recommender_folds("", start, start, 28, 4, RECIPE, RECIPE, MEASURED) == []
