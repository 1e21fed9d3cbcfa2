from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from feature_repo.derived import (
    DECAYED_SUMS,
    DERIVED_INPUTS,
    DERIVED_USER_FEATURES,
    decay_factor,
    derive_user,
)
from feature_repo.errors import MissingInput

AT = datetime(2024, 3, 31, 6, tzinfo=UTC)
DAY = timedelta(days=1)

# Orders on 1, 11 and 16 March; the row is known from 20 March.
REGULAR: dict[str, Any] = {
    "feature_at": datetime(2024, 3, 20, tzinfo=UTC),
    "first_event_at": datetime(2024, 2, 29, 18, tzinfo=UTC),
    "last_event_at": datetime(2024, 3, 19, 18, tzinfo=UTC),
    "first_order_at": datetime(2024, 3, 1, 12, tzinfo=UTC),
    "last_order_at": datetime(2024, 3, 16, 18, tzinfo=UTC),
    "order_count": 4,
    "order_day_count": 3,
    "unit_count": 12.0,
    "spend_total": 200.0,
    "return_total": 50.0,
    "active_day_count": 6,
    "order_gap_days_sum": 15.0,
    "order_gap_days_sumsq": 125.0,
    **dict.fromkeys(DECAYED_SUMS, 8.0),
}
VISITOR: dict[str, Any] = {
    **REGULAR,
    "first_order_at": None,
    "last_order_at": None,
    **dict.fromkeys(("order_count", "order_day_count", "unit_count", "spend_total", "return_total"), 0),
    **dict.fromkeys(("order_gap_days_sum", "order_gap_days_sumsq"), 0.0),
    **dict.fromkeys(DECAYED_SUMS, 0.0),
}


def random_rows(rng: np.random.Generator, count: int) -> pd.DataFrame:
    """Rows as a mart could have them; a third of the users never ordered."""
    start = pd.Timestamp("2023-01-01", tz="UTC")
    known = rng.uniform(0, 300, count)
    ordered = known + rng.uniform(0, 50, count)
    frame = pd.DataFrame(
        {
            "first_event_at": start + pd.to_timedelta(np.round(known * 86400), unit="s"),
            "first_order_at": start + pd.to_timedelta(np.round(ordered * 86400), unit="s"),
            "order_count": rng.integers(1, 30, count).astype(float),
            "unit_count": rng.uniform(1, 500, count),
            "spend_total": rng.uniform(0, 5000, count),
            "return_total": rng.uniform(0, 100, count),
            "active_day_count": rng.integers(30, 60, count),
        }
    )
    frame["order_day_count"] = np.ceil(frame["order_count"] / 2)
    gaps = [rng.uniform(1, 30, int(days) - 1) for days in frame["order_day_count"]]
    frame["order_gap_days_sum"] = [each.sum() for each in gaps]
    frame["order_gap_days_sumsq"] = [(each**2).sum() for each in gaps]
    frame["last_order_at"] = frame["first_order_at"] + pd.to_timedelta(
        frame["order_gap_days_sum"] * 86400, unit="s"
    )
    frame["last_event_at"] = frame["last_order_at"] + pd.Timedelta(days=1)
    frame["feature_at"] = frame["last_event_at"].dt.ceil("D")
    for name in DECAYED_SUMS:
        frame[name] = rng.uniform(0, 100, count)
    never = rng.random(count) < 1 / 3
    frame.loc[never, ["first_order_at", "last_order_at"]] = pd.NaT
    frame.loc[never, ["order_count", "order_day_count", "spend_total", "order_gap_days_sum"]] = 0
    return frame


def test_a_regular_customer_by_hand() -> None:
    derived = derive_user(REGULAR, AT)
    expected = {
        "inactivity_days": 11.5,
        "recency_days": 14.5,
        "tenure_days": 29.75,
        "known_days": 30.5,
        "spend_decay_7d": 8 * 0.5 ** (11.25 / 7),
        "orders_decay_90d": 8 * 0.5 ** (11.25 / 90),
        "mean_gap_days": 7.5,
        "gap_cv": 2.5 / 7.5,
        "overdue_ratio": 14.5 / 7.5,
        "repeat_frequency": 2,
        "repeat_recency_days": 15,
        "repeat_age_days": 30,
        "mean_order_value": 50,
        "mean_order_units": 3,
        "return_share": 0.25,
        "orders_per_active_day": 0.5,
        "spend_trend_7d_30d": 0.5 ** (11.25 / 7 - 11.25 / 30),
    }
    assert {name: derived[name] for name in expected} == pytest.approx(expected, rel=1e-12)
    assert list(derived) == list(DERIVED_USER_FEATURES)
    assert all(type(value) is float for value in derived.values())


def test_what_a_visitor_has_not_done_is_unknown() -> None:
    derived = derive_user(VISITOR, AT)
    unknown = {name for name, value in derived.items() if np.isnan(value)}
    assert unknown >= {"recency_days", "tenure_days", "repeat_frequency", "mean_gap_days", "mean_order_value"}
    assert derived["inactivity_days"] == 11.5
    assert derived["spend_decay_30d"] == 0
    assert derived["orders_per_active_day"] == 0


def test_a_user_without_a_row_has_nothing() -> None:
    derived = derive_user(dict.fromkeys(DERIVED_INPUTS), AT)
    assert all(np.isnan(value) for value in derived.values())


@pytest.mark.parametrize(
    ("values", "at"),
    [
        (pd.DataFrame([REGULAR, VISITOR, dict.fromkeys(DERIVED_INPUTS)]), AT),
        (pd.DataFrame([REGULAR, VISITOR, dict.fromkeys(DERIVED_INPUTS)]), pd.Series([pd.Timestamp(AT)] * 3)),
        (
            {
                name: np.array([row.get(name) for row in (REGULAR, VISITOR, {})], dtype=object)
                for name in REGULAR
            },
            AT.replace(tzinfo=None),
        ),
    ],
    ids=["frame", "frame and instants", "object arrays and an instant without zone"],
)
def test_columns_and_single_rows_give_the_same_numbers(values: Any, at: Any) -> None:
    columns = derive_user(values, at)
    for place, row in enumerate((REGULAR, VISITOR, dict.fromkeys(DERIVED_INPUTS))):
        single = derive_user(row, AT)
        np.testing.assert_array_equal(
            [columns[name][place] for name in DERIVED_USER_FEATURES],
            [single[name] for name in DERIVED_USER_FEATURES],
        )


@pytest.mark.parametrize("seed", range(20))
def test_scaling_first_to_a_day_in_between_changes_nothing(seed: int) -> None:
    """What is derived at t2 from the stored row equals what is derived from the row scaled to t1 < t2."""
    rng = np.random.default_rng(seed)
    stored = random_rows(rng, 50)
    between = stored["feature_at"] + pd.to_timedelta(rng.integers(0, 200, 50), unit="D")
    later = between + pd.to_timedelta(rng.uniform(0, 200, 50) * 86400, unit="s").round("us")
    scaled = stored.assign(
        feature_at=between,
        **{name: values for name, values in derive_user(stored, between).items() if name in DECAYED_SUMS},
    )
    direct, twice = derive_user(stored, later), derive_user(scaled, later)
    for name in DERIVED_USER_FEATURES:
        np.testing.assert_allclose(twice[name], direct[name], rtol=1e-12, err_msg=name)


@pytest.mark.parametrize("seed", range(5))
def test_columns_and_single_rows_agree_on_random_rows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frame = random_rows(rng, 40)
    at = frame["feature_at"].max() + pd.Timedelta(days=float(rng.integers(0, 100)))
    columns = derive_user(frame, at)
    for place, row in enumerate(frame.to_dict("records")):
        single = derive_user(row, at)
        for name in DERIVED_USER_FEATURES:
            np.testing.assert_array_equal(columns[name][place], single[name], err_msg=name)


@pytest.mark.parametrize("seed", range(5))
def test_time_only_adds_to_ages_and_takes_from_decayed_sums(seed: int) -> None:
    frame = random_rows(np.random.default_rng(seed), 40)
    sooner, later = (derive_user(frame, frame["feature_at"] + days * DAY) for days in (1, 20))
    for name in ("recency_days", "inactivity_days", "tenure_days", "repeat_age_days"):
        np.testing.assert_allclose(later[name] - sooner[name], np.where(np.isnan(sooner[name]), np.nan, 19))
    for name in DECAYED_SUMS:
        assert (later[name] < sooner[name]).all()


def test_a_sum_halves_every_half_life() -> None:
    assert decay_factor(0, 7) == 1
    assert decay_factor(21, 7) == 0.125


def test_a_row_from_after_the_instant_is_refused() -> None:
    with pytest.raises(ValueError, match="feature_at is up to 1.000 days after"):
        derive_user(REGULAR, REGULAR["feature_at"] - DAY)
    with pytest.raises(ValueError, match="after the instant"):
        derive_user(pd.DataFrame([REGULAR, VISITOR]), REGULAR["feature_at"] - DAY)


def test_a_value_that_was_not_handed_in_is_named() -> None:
    with pytest.raises(MissingInput, match="derivation lacks spend_total"):
        derive_user({name: value for name, value in REGULAR.items() if name != "spend_total"}, AT)
