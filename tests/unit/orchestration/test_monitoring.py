"""Daily figures are judged by their own past; an alert opens once, says what and since when, ends once."""

from datetime import date, timedelta

import numpy as np
import pytest

from orchestration.drift_reports import DriftReport
from orchestration.monitoring.alerts import Alert, Watched, alert_of, renew, renew_drift, watch
from orchestration.monitoring.baseline import Tolerance, judge, judge_days
from orchestration.monitoring.series import Figure, Series, consecutive
from training.drift import Drift

LAST = date(2026, 3, 29)
REVENUE = Figure("revenue", "business", "revenue", "mart daily_kpis")
SHARE = Figure("quarantined_share", "quality", "refused", "landing", "linear", Tolerance(least_change=0.01))


def weekly(days: int = 112, seed: int = 3) -> list[float]:
    """A shop that sells four times as much on one day of the week, with 5 % of noise."""
    noise = np.random.default_rng(seed).normal(0.0, 0.05, days)
    return [float((400 if day % 7 == 0 else 100) * np.exp(noise[day])) for day in range(days)]


def watched(values: list[float], figure: Figure = REVENUE) -> Watched:
    return watch([Series(figure, np.array(values), LAST)])[0]


def test_a_strong_weekday_is_expected_and_its_absence_is_not() -> None:
    values = weekly(106)  # the last day, number 105, is a strong one
    usual = judge(values, LAST, "log", Tolerance())
    assert usual is not None
    assert not usual.is_anomaly
    assert usual.expected == pytest.approx(400, rel=0.1)
    weak = judge([*values[:-1], 100.0], LAST, "log", Tolerance())
    assert weak is not None
    assert weak.is_anomaly
    assert not weak.is_above


def test_a_growing_shop_is_no_anomaly() -> None:
    values = [value * 1.01**day for day, value in enumerate(weekly())]
    assert [one.day for one in judge_days(values, LAST, "log", Tolerance(), 14) if one.is_anomaly] == []


def test_one_bad_day_does_not_widen_the_band_of_the_next() -> None:
    quiet = judge(weekly(), LAST, "log", Tolerance())
    shaken = weekly()
    shaken[90] = 5_000.0
    after = judge(shaken, LAST, "log", Tolerance())
    assert quiet is not None
    assert after is not None
    assert after.high == pytest.approx(quiet.high, rel=0.05)


def test_a_small_change_is_not_told_however_regular_the_figure_is() -> None:
    flat = [100.0] * 99
    near, far = (judge([*flat, value], LAST, "log", Tolerance()) for value in (120.0, 130.0))
    assert near is not None
    assert far is not None
    assert not near.is_anomaly
    assert far.is_above


def test_too_short_or_too_patchy_a_history_is_not_judged() -> None:
    assert judge([100.0] * 56, LAST, "log", Tolerance()) is None
    assert judge([100.0, *[float("nan")] * 60, *[100.0] * 40], LAST, "log", Tolerance()) is None
    assert judge([*[100.0] * 100, float("nan")], LAST, "log", Tolerance()) is None


def test_noise_alone_is_rarely_an_anomaly() -> None:
    found = [
        one.is_anomaly
        for seed in range(20)
        for one in judge_days(weekly(140, seed), LAST, "log", Tolerance(), 20)
    ]
    assert len(found) == 400
    assert np.mean(found) <= 0.01


def test_a_share_is_compared_in_its_own_unit() -> None:
    shares = [0.01 + 0.001 * (day % 3) for day in range(100)]
    found = judge([*shares[:-1], 0.05], LAST, "linear", SHARE.tolerance)
    assert found is not None
    assert found.is_above
    assert found.high == pytest.approx(found.expected + 0.01, abs=0.005)


def test_an_alert_says_what_how_large_since_when_and_where_to_look() -> None:
    alert = alert_of(watched([*weekly()[:-3], 10.0, 10.0, 10.0]))
    assert alert.key == "revenue:below"
    assert alert.since == str(LAST - timedelta(days=2))
    assert "revenue was 10 on Sunday 2026-03-29" in alert.text.replace("(revenue) ", "")
    assert "90% below the" in alert.text
    assert "since 2026-03-27 (3 days)" in alert.text
    assert alert.text.endswith("Look at mart daily_kpis.")


def test_an_alert_opens_once_goes_on_and_ends_once() -> None:
    bad, good = watched([*weekly()[:-1], 10.0]), watched(weekly())
    opened = renew([], [bad])
    assert [alert.is_news for alert in opened] == [True]
    told = [opened[0].told()]
    same = renew(told, [bad])
    assert [alert.is_news for alert in same] == [False]
    ended = renew(same, [good])
    assert [(alert.is_open, alert.is_news) for alert in ended] == [(False, True)]
    assert [alert.is_news for alert in [ended[0].told()]] == [False]


def test_an_alert_that_nobody_was_told_of_ends_in_silence() -> None:
    ended = renew(renew([], [watched([*weekly()[:-1], 10.0])]), [watched(weekly())])
    assert [(alert.is_open, alert.is_news) for alert in ended] == [(False, False)]


def test_a_figure_that_cannot_be_judged_leaves_its_alert_open() -> None:
    before = [Alert("revenue:below", "business", "2026-03-01", "2026-03-02", "text", told_open=True)]
    assert renew(before, [watched([100.0] * 10)]) == before
    assert renew(before, []) == before


def drifted(as_of: date, psi: float) -> DriftReport:
    found = Drift("churn", "prediction", "churn_probability", psi, 0.0, 0.0, 0.3, 0.5, 900, 900, psi > 0.25)
    return DriftReport(as_of, {"churn": "3"}, [found])


def test_a_model_that_drifts_is_an_alert_until_it_does_not() -> None:
    other = Alert("revenue:below", "business", "2026-03-01", "2026-03-02", "text", told_open=True)
    opened = renew_drift([other], drifted(LAST, 0.4))
    assert [(alert.key, alert.family) for alert in opened[1:]] == [("prediction of churn:drifted", "drift")]
    assert (
        "prediction of churn has drifted from training: churn_probability moved: PSI 0.40" in opened[1].text
    )
    assert opened[1].text.endswith("Look at asset monitoring/drift, and MLflow.")
    later = renew_drift([other, opened[1].told()], drifted(LAST + timedelta(days=2), 0.5))
    assert (later[1].since, later[1].until, later[1].is_news) == (
        str(LAST),
        str(LAST + timedelta(days=2)),
        False,
    )
    assert f"since {LAST}" in later[1].text
    ended = renew_drift(later, drifted(LAST + timedelta(days=3), 0.1))
    assert [(alert.is_open, alert.is_news) for alert in ended] == [(True, False), (False, True)]
    assert renew(ended, []) == ended


def test_a_day_without_events_is_zero_for_a_count_and_unknown_for_a_share() -> None:
    days = {date(2026, 1, 1): 5.0, date(2026, 1, 3): 7.0, date(2026, 1, 4): 9.0}
    counts = consecutive(REVENUE, days, date(2026, 1, 3))
    shares = consecutive(SHARE, days, date(2026, 1, 3))
    assert counts is not None
    assert shares is not None
    assert counts.values.tolist() == [5.0, 0.0, 7.0]
    assert counts.last_day == date(2026, 1, 3)
    assert np.isnan(shares.values[1])
    assert consecutive(REVENUE, days, date(2025, 12, 31)) is None
