"""Training frames of made-up customers, without a mart: a known truth behind each fold's level."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd

from training.value_config import PURCHASE_FEATURES, ChurnConfig, ClvConfig, PurchaseConfig, TreesConfig

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
FEW_TREES = TreesConfig(rounds=30, ensemble=1, learning_rate=0.2)
PURCHASE = PurchaseConfig(trees=FEW_TREES)
CHURN = ChurnConfig(purchase=PURCHASE)
CLV = ClvConfig(purchase=PURCHASE, amount=FEW_TREES)


def cutoff(number: int, step_days: int = 30) -> datetime:
    """The cut-offs that frames here are numbered by."""
    return FIRST + timedelta(days=step_days * number)


def frame(levels: Sequence[float], customers: int = 800, seed: int = 0, first: int = 0) -> pd.DataFrame:
    """Cut-off `first + k` has log odds of buying `levels[k] + 1.5 * order days (standardised)`.

    Buyers spend exp(3 + standardised order days) times a lognormal factor.
    """
    draw = np.random.default_rng(seed)
    parts = []
    for number, level in enumerate(levels):
        loyalty = draw.normal(size=customers)
        part = pd.DataFrame({name: np.full(customers, np.nan) for name in PURCHASE_FEATURES})
        part["order_day_count"] = 10.0 + 3.0 * loyalty
        part["recency_days"] = draw.uniform(1.0, 60.0, customers)
        part["tenure_days"] = part["recency_days"] + draw.uniform(30.0, 300.0, customers)
        part["spend_total"] = 100.0 * np.exp(0.5 * loyalty)
        part["repeat_frequency"] = draw.poisson(2.0, customers).astype(float)
        part["repeat_age_days"] = np.floor(part["tenure_days"])
        part["repeat_recency_days"] = np.floor(part["tenure_days"] - part["recency_days"])
        part["spend_last_90d"] = 50.0 * np.exp(0.5 * loyalty)
        bought = draw.uniform(size=customers) < 1.0 / (1.0 + np.exp(-(level + 1.5 * loyalty)))
        part["orders_next"] = bought.astype(int)
        part["spend_next"] = np.where(bought, np.exp(3.0 + loyalty + draw.normal(0, 0.5, customers)), 0.0)
        part["days_to_next_order"] = np.where(bought, draw.integers(0, 60, customers), np.nan)
        part.insert(0, "user_id", [f"u{row:05d}" for row in range(customers)])
        part.insert(1, "cutoff", pd.Series([cutoff(first + number)] * customers, dtype="datetime64[us, UTC]"))
        parts.append(part)
    return pd.concat(parts, ignore_index=True)
