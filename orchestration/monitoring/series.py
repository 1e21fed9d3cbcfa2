"""The daily figures that are watched, read from files: landed days, published marts, predictions.

Each is one series over consecutive days. A count or an amount of a day without events is 0; a share or a mean
of it is unknown (NaN).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Literal

import duckdb
import numpy as np
import numpy.typing as npt

from feature_repo.layout import Home
from orchestration.landed import landed_counts
from orchestration.monitoring.baseline import Scale, Tolerance

Family = Literal["volume", "quality", "features", "models", "business"]
FAMILIES: tuple[Family, ...] = ("volume", "quality", "features", "models", "business")
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Figure:
    """A watched figure: its family, the scale of comparison, where somebody who is told looks first."""

    name: str
    family: Family
    meaning: str
    look_at: str
    scale: Scale = "log"
    tolerance: Tolerance = field(default_factory=Tolerance)


@dataclass(frozen=True)
class Series:
    """One figure's values on consecutive days, the last of them `last_day`."""

    figure: Figure
    values: Floats
    last_day: date


KPI = "mart daily_kpis (asset transforms/marts)"
LANDING = "asset events/landed, and landing/quarantine below ATTUNE_HOME"
PREDICTIONS = "asset models/predictions, and the champions in MLflow"

KPIS = (
    Figure("event_count", "volume", "events", LANDING),
    Figure("visitor_count", "volume", "distinct visitors", KPI),
    Figure("session_count", "volume", "sessions", KPI),
    Figure("active_user_count", "features", "customers whose features changed", "mart user_daily"),
    Figure("order_count", "business", "orders", KPI),
    Figure("revenue", "business", "revenue", KPI),
    Figure("average_order_value", "business", "revenue per order", KPI),
    Figure("return_amount", "business", "value of returns", KPI),
    Figure(
        "conversion_rate",
        "business",
        "share of sessions that buy",
        KPI,
        "linear",
        Tolerance(least_change=0.01),
    ),
)
SHARES = (
    Figure(
        "quarantined_share",
        "quality",
        "share of the rows that broke the contract",
        LANDING,
        "linear",
        Tolerance(least_change=0.005),
    ),
    Figure(
        "duplicate_share",
        "quality",
        "share of the rows that came twice",
        LANDING,
        "linear",
        Tolerance(least_change=0.005),
    ),
)
MEANS = (
    Figure("clv_90d", "models", "mean predicted spend in the next 90 days", PREDICTIONS),
    Figure(
        "churn_probability",
        "models",
        "mean predicted churn",
        PREDICTIONS,
        "linear",
        Tolerance(least_change=0.05),
    ),
)
COUNTS = frozenset({"event_count", "visitor_count", "session_count", "active_user_count"}) | {
    "order_count",
    "revenue",
    "return_amount",
}
FIGURES = (*KPIS, *SHARES, *MEANS)


def watched_series(home: Home, until: date) -> list[Series]:
    """Every figure that the home has data for, up to `until`; the days after it are not over."""
    readers: tuple[Callable[[Home], dict[str, dict[date, float]]], ...] = (
        published_kpis,
        landing_shares,
        prediction_means,
    )
    days = {name: found for read in readers for name, found in read(home).items()}
    return [
        one
        for figure in FIGURES
        if (one := consecutive(figure, days.get(figure.name, {}), until)) is not None
    ]


def consecutive(figure: Figure, days: dict[date, float], until: date) -> Series | None:
    """The figure on every day from its first to the last before or on `until`; None without any."""
    known = {day: value for day, value in days.items() if day <= until}
    if not known:
        return None
    first, last = min(known), max(known)
    missing = 0.0 if figure.name in COUNTS else np.nan
    span = (last - first).days + 1
    values = [known.get(first + timedelta(days=number), missing) for number in range(span)]
    return Series(figure, np.array(values, dtype=np.float64), last)


def published_kpis(home: Home) -> dict[str, dict[date, float]]:
    """The columns of `KPIS`, by day; empty before the first publication."""
    names = [figure.name for figure in KPIS]
    files = sorted(home.mart("daily_kpis").glob("*.parquet")) if home.current_marts.exists() else []
    return _by_day([str(path) for path in files], "event_date", names)


def landing_shares(home: Home) -> dict[str, dict[date, float]]:
    """Of all rows that came for a day, the share that was refused and the share that was there already."""
    shares: dict[str, dict[date, float]] = {figure.name: {} for figure in SHARES}
    for day, counts in landed_counts(home).items():
        total = counts.rows + counts.quarantined + counts.duplicates
        if total:
            shares["quarantined_share"][day] = counts.quarantined / total
            shares["duplicate_share"][day] = counts.duplicates / total
    return shares


def prediction_means(home: Home) -> dict[str, dict[date, float]]:
    """The mean over customers of each kept day of predictions."""
    files = sorted(home.prediction("user_predictions").glob("*.parquet"))
    names = [f"avg({figure.name}) as {figure.name}" for figure in MEANS]
    return _by_day([str(path) for path in files], "cast(feature_at as date)", names, "group by 1")


def _by_day(
    files: Sequence[str], day: str, columns: Sequence[str], clause: str = ""
) -> dict[str, dict[date, float]]:
    """Column -> day -> value, nulls left out."""
    if not files:
        return {}
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("set TimeZone = 'UTC'")
        found = connection.execute(
            f"select {day} as day, {', '.join(columns)}"
            f" from read_parquet($files, union_by_name = true) {clause}",
            {"files": list(files)},
        ).to_arrow_table()
    days = found["day"].to_pylist()
    return {
        name: {
            each: float(value)
            for each, value in zip(days, found[name].to_pylist(), strict=True)
            if value is not None
        }
        for name in found.column_names
        if name != "day"
    }
