"""BG/NBD and Gamma-Gamma against published and simulated figures."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import hyp2f1

from training.bgnbd import BgNbd, fit_bgnbd, fit_gamma_gamma
from training.errors import NotEnoughData

CDNOW = (
    Path(__file__).resolve().parents[4] / "shared" / "data" / "cdnow_summary" / "customers_summary.parquet"
)
PUBLISHED = BgNbd(0.243, 4.414, 0.793, 2.426, -9582.4)


@pytest.mark.skipif(not CDNOW.exists(), reason="data set cdnow_summary is not there")
def test_the_published_parameters_are_reproduced_within_one_percent() -> None:
    data = pd.read_parquet(CDNOW)
    found = fit_bgnbd(*(data[name].to_numpy(dtype=np.float64) for name in ("frequency", "recency", "T")))
    for name in ("r", "alpha", "a", "b", "log_likelihood"):
        assert getattr(found, name) == pytest.approx(getattr(PUBLISHED, name), rel=0.01), name


def test_expected_purchases_equal_the_closed_form_of_the_paper() -> None:
    x, t_x, age = np.array([0.0, 2.0, 26.0]), np.array([0.0, 30.43, 30.86]), np.array([38.86, 38.86, 31.0])
    r, alpha, a, b, horizon = 0.243, 4.414, 0.793, 2.426, 39.0
    series = hyp2f1(r + x, b + x, a + b + x - 1, horizon / (alpha + age + horizon))
    alive = (a + b + x - 1) / (a - 1) * (1 - ((alpha + age) / (alpha + age + horizon)) ** (r + x) * series)
    gone = np.where(x > 0, a / (b + np.maximum(x, 1) - 1) * ((alpha + age) / (alpha + t_x)) ** (r + x), 0)
    assert PUBLISHED.expected_purchases(x, t_x, age, horizon) == pytest.approx(alive / (1 + gone), rel=2e-3)


def test_the_papers_example_customer_is_expected_to_buy_about_one_and_a_quarter_times() -> None:
    found = PUBLISHED.expected_purchases(np.array([2.0]), np.array([30.43]), np.array([38.86]), 39.0)
    assert found[0] == pytest.approx(1.226, abs=0.005)


def test_who_stopped_buying_is_less_likely_alive_than_who_bought_just_now() -> None:
    x, age = np.array([5.0, 5.0, 0.0]), np.full(3, 38.0)
    alive = PUBLISHED.p_alive(x, np.array([10.0, 37.0, 0.0]), age)
    assert alive[0] < 0.2 < alive[1] < 1.0 == alive[2]


def test_no_purchase_grows_less_likely_with_the_horizon_and_covers_dropout() -> None:
    x, t_x, age = np.array([3.0]), np.array([20.0]), np.array([30.0])
    short, long = (PUBLISHED.p_no_purchase(x, t_x, age, horizon)[0] for horizon in (1.0, 1e9))
    assert short > long > 0.0
    # forever: silent only if dropped out already, up to the alive customers who never order again
    assert long == pytest.approx(1.0 - PUBLISHED.p_alive(x, t_x, age)[0], abs=1e-6)


def test_next_to_no_dropout_stays_finite() -> None:
    model = BgNbd(0.8, 68.0, 0.001, 1000.0, 0.0)
    found = model.expected_purchases(
        np.array([0.0, 80.0]), np.array([0.0, 270.0]), np.array([270.0, 272.0]), 90
    )
    assert found == pytest.approx([0.8 / 338 * 90, 80.8 / 340 * 90], rel=1e-2)


def test_gamma_gamma_finds_the_parameters_that_made_the_data() -> None:
    draw = np.random.default_rng(1)
    p, q, v, customers = 4.0, 3.5, 20.0, 6000
    rate = draw.gamma(q, 1.0 / v, customers)
    n = draw.integers(1, 9, customers).astype(float)
    found = fit_gamma_gamma(n, draw.gamma(p * n, 1.0 / (rate * n)))
    assert [found.p, found.q, found.v] == pytest.approx([p, q, v], rel=0.15)


def test_expected_amount_lies_between_the_customers_mean_and_everybodys() -> None:
    model = fit_gamma_gamma(np.array([1.0, 5.0, 2.0, 9.0, 3.0]), np.array([20.0, 30.0, 60.0, 35.0, 25.0]))
    few, many = model.expected_amount(np.array([1.0, 50.0]), np.array([200.0, 200.0]))
    assert 30.0 < few < many < 200.0


def test_without_a_repeat_transaction_nothing_can_be_fitted() -> None:
    with pytest.raises(NotEnoughData, match="repeat transaction"):
        fit_bgnbd(np.zeros(3), np.zeros(3), np.ones(3))
    with pytest.raises(NotEnoughData, match="money spent"):
        fit_gamma_gamma(np.array([1.0]), np.array([10.0]))
