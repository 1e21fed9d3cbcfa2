"""Pareto/NBD against published and simulated figures."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from training.errors import NotEnoughData
from training.pareto import ParetoNbd, fit_pareto_nbd

CDNOW = (
    Path(__file__).resolve().parents[4] / "shared" / "data" / "cdnow_summary" / "customers_summary.parquet"
)
PUBLISHED = ParetoNbd(0.553, 10.578, 0.606, 11.669, -9595.0)


@pytest.mark.skipif(not CDNOW.exists(), reason="data set cdnow_summary is not there")
def test_the_published_parameters_are_reproduced_within_one_percent() -> None:
    data = pd.read_parquet(CDNOW)
    found = fit_pareto_nbd(*(data[name].to_numpy(dtype=np.float64) for name in ("frequency", "recency", "T")))
    for name in ("r", "alpha", "s", "beta", "log_likelihood"):
        assert getattr(found, name) == pytest.approx(getattr(PUBLISHED, name), rel=0.01), name


def test_who_bought_just_now_is_alive_and_who_was_quiet_for_long_is_likely_gone() -> None:
    x, t_x, age = np.array([5.0, 5.0, 0.0]), np.array([38.0, 5.0, 0.0]), np.full(3, 38.0)
    alive = PUBLISHED.p_alive(x, t_x, age)
    assert alive[0] == pytest.approx(1.0)
    assert alive[1] < 0.1 < alive[2] < 1.0


def test_expected_purchases_grow_with_the_horizon_and_flatten() -> None:
    x, t_x, age = np.array([3.0]), np.array([30.0]), np.array([38.0])
    year, two, three = (PUBLISHED.expected_purchases(x, t_x, age, 52.0 * each)[0] for each in (1, 2, 3))
    assert 0.0 < three - two < two - year < year


def test_simulated_customers_return_their_expected_purchases() -> None:
    draw = np.random.default_rng(4)
    count, age, horizon = 4000, 50.0, 25.0
    rate, leaving = draw.gamma(0.8, 1 / 8.0, count), draw.gamma(0.9, 1 / 20.0, count)
    lives = draw.exponential(1.0 / leaving)
    times = np.cumsum(draw.exponential(1.0 / rate[:, None], (count, 200)), axis=1)
    happened = times < lives[:, None]
    x = (happened & (times < age)).sum(axis=1).astype(float)
    t_x = np.where(happened & (times < age), times, 0.0).max(axis=1)
    later = (happened & (times >= age) & (times < age + horizon)).sum()
    model = fit_pareto_nbd(x, t_x, np.full(count, age))
    expected = model.expected_purchases(x, t_x, np.full(count, age), horizon)
    assert expected.sum() == pytest.approx(later, rel=0.1)


def test_nobody_who_bought_again_is_an_error() -> None:
    with pytest.raises(NotEnoughData, match="repeat transaction"):
        fit_pareto_nbd(np.zeros(3), np.zeros(3), np.ones(3))
