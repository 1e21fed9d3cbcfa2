"""What depends on "now": the only place where an instant meets stored behaviour.

A stored row says what was known at its `feature_at`. At a later instant `at`, counts and instants are the
same, decayed sums have shrunk by 2^(-days / half-life), and durations have grown. Training derives columns
of a point-in-time frame, serving derives one online row: the same function, the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from feature_repo.errors import MissingInput
from feature_repo.sources import FEATURE_AT
from feature_repo.user_features import DECAYED_USER_QUANTITIES, HALF_LIVES_DAYS

Floats = npt.NDArray[np.float64]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
MICROSECONDS_A_DAY = 86_400_000_000

DECAYED_SUMS = tuple(
    f"{quantity}_decay_{days}d" for quantity in DECAYED_USER_QUANTITIES for days in HALF_LIVES_DAYS
)
_INSTANTS = (FEATURE_AT, "first_event_at", "last_event_at", "first_order_at", "last_order_at")
_NUMBERS = (
    "order_count",
    "order_day_count",
    "unit_count",
    "spend_total",
    "return_total",
    "active_day_count",
    "order_gap_days_sum",
    "order_gap_days_sumsq",
)

# Fields of `user_behavior` that `derive_user` reads.
DERIVED_INPUTS = (*_INSTANTS, *_NUMBERS, *DECAYED_SUMS)

# Names that `derive_user` returns, in order. The decayed sums keep their names: scaled to `at`.
DERIVED_USER_FEATURES = (
    "inactivity_days",
    "recency_days",
    "tenure_days",
    "known_days",
    *DECAYED_SUMS,
    "mean_gap_days",
    "gap_cv",
    "overdue_ratio",
    "repeat_frequency",
    "repeat_recency_days",
    "repeat_age_days",
    "mean_order_value",
    "mean_order_units",
    "return_share",
    "orders_per_active_day",
    "spend_trend_7d_30d",
    "spend_trend_30d_90d",
    "orders_trend_30d_90d",
    "views_trend_7d_30d",
    "events_trend_7d_30d",
    "events_trend_30d_90d",
)


def derive_user(values: Mapping[str, Any], at: Any) -> dict[str, Any]:
    """What is true of customers at `at`, from their rows of `user_behavior`.

    `values` maps each of `DERIVED_INPUTS` to a scalar (one customer) or a column (many); a DataFrame is such
    a mapping. `at` is one instant or a column of them; without zone it is UTC. Returns a float for each of
    `DERIVED_USER_FEATURES`, or a float64 array. What cannot be known (recency before the first order, gaps
    before the second) is NaN.

    Raises `MissingInput` if a value was not handed in, and `ValueError` if a row is from after `at`.
    """
    missing = [name for name in DERIVED_INPUTS if name not in values]
    if missing:
        raise MissingInput(missing)
    is_one = np.ndim(values[FEATURE_AT]) == 0
    row = {name: _floats(values[name]) for name in (*_NUMBERS, *DECAYED_SUMS)}
    row |= {name: _days(values[name]) for name in _INSTANTS}
    with np.errstate(divide="ignore", invalid="ignore"):
        derived = _derive(row, _days(at))
    if is_one:
        return {name: float(derived[name][0]) for name in DERIVED_USER_FEATURES}
    return {name: derived[name] for name in DERIVED_USER_FEATURES}


def decay_factor(elapsed_days: Any, half_life_days: float) -> Any:
    """What is left of a decayed sum after this many days."""
    return np.exp2(np.negative(elapsed_days) / half_life_days)


def _derive(row: Mapping[str, Floats], at: Floats) -> dict[str, Floats]:
    elapsed = at - row[FEATURE_AT]
    if np.any(elapsed < 0):
        raise ValueError(
            f"{FEATURE_AT} is up to {-np.nanmin(elapsed):.3f} days after the instant to derive at;"
            " derive at or after it"
        )
    decayed = {
        f"{quantity}_decay_{days}d": row[f"{quantity}_decay_{days}d"] * decay_factor(elapsed, days)
        for quantity in DECAYED_USER_QUANTITIES
        for days in HALF_LIVES_DAYS
    }
    return {
        "inactivity_days": at - row["last_event_at"],
        "recency_days": at - row["last_order_at"],
        "tenure_days": at - row["first_order_at"],
        "known_days": at - row["first_event_at"],
        **decayed,
        **_rhythm(row, at),
        "mean_order_value": _ratio(row["spend_total"], row["order_count"]),
        "mean_order_units": _ratio(row["unit_count"], row["order_count"]),
        "return_share": _ratio(row["return_total"], row["spend_total"]),
        "orders_per_active_day": _ratio(row["order_day_count"], row["active_day_count"]),
        **{
            f"{quantity}_trend_{short}d_{long}d": _ratio(
                decayed[f"{quantity}_decay_{short}d"], decayed[f"{quantity}_decay_{long}d"]
            )
            for quantity, short, long in (
                ("spend", 7, 30),
                ("spend", 30, 90),
                ("orders", 30, 90),
                ("views", 7, 30),
                ("events", 7, 30),
                ("events", 30, 90),
            )
        },
    }


def _rhythm(row: Mapping[str, Floats], at: Floats) -> dict[str, Floats]:
    """How regularly somebody orders. Gaps lie between days with an order.

    The three `repeat_` values are those of BG/NBD (Fader, Hardie and Lee 2005), in whole days: x order days
    after the first, t_x from the first to the last of them, T from the first to `at`.
    """
    gaps = row["order_day_count"] - 1
    mean = _ratio(row["order_gap_days_sum"], gaps)
    variance = np.maximum(_ratio(row["order_gap_days_sumsq"], gaps) - mean**2, 0)
    has_ordered = row["order_day_count"] >= 1
    return {
        "mean_gap_days": mean,
        "gap_cv": np.where(gaps >= 2, _ratio(np.sqrt(variance), mean), np.nan),
        "overdue_ratio": _ratio(at - row["last_order_at"], mean),
        "repeat_frequency": np.where(has_ordered, gaps, np.nan),
        "repeat_recency_days": np.where(has_ordered, row["order_gap_days_sum"], np.nan),
        "repeat_age_days": np.where(has_ordered, np.floor(at) - np.floor(row["first_order_at"]), np.nan),
    }


def _ratio(part: Floats, whole: Floats) -> Floats:
    """`part / whole`, unknown where there is no whole."""
    return np.where(whole > 0, part / whole, np.nan)


def _floats(value: Any) -> Floats:
    """Numbers as an array, of one element if it is one number; missing is NaN."""
    if np.ndim(value) == 0:
        return np.array([np.nan if value is None or value is pd.NA else value], dtype=np.float64)
    return np.asarray(pd.to_numeric(pd.Series(value)), dtype=np.float64)


def _days(value: Any) -> Floats:
    """Instants as days since 1970 UTC; missing is NaN, no zone is UTC."""
    if np.ndim(value) == 0:
        return _days_of_one(value)
    instants = pd.to_datetime(pd.Series(value), utc=True).dt.as_unit("us").dt.tz_localize(None)
    microseconds = instants.to_numpy(dtype="datetime64[us]").astype(np.int64)
    return np.where(instants.isna(), np.nan, microseconds / MICROSECONDS_A_DAY)


def _days_of_one(value: Any) -> Floats:
    if pd.isna(value):
        return np.array([np.nan])
    instant = value if isinstance(value, datetime) else pd.Timestamp(value)
    since = (instant if instant.tzinfo else instant.replace(tzinfo=UTC)) - EPOCH
    return np.array([since // MICROSECOND]) / MICROSECONDS_A_DAY
