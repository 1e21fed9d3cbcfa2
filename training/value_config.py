"""Hyperparameters of the value models (CLV, churn) and the thresholds of customer segments.

A value out of range raises `InvalidConfig` with the field's name when the object is made.
"""

from dataclasses import asdict, dataclass, field
from typing import Any

from training.errors import InvalidConfig
from training.item_popularity import ITEM_POPULARITY

# What visits say between orders; constant, and so left out, where a shop's data has no views and carts.
BROWSING_FEATURES = (
    "views_decay_7d",
    "views_decay_30d",
    "views_decay_90d",
    "views_trend_7d_30d",
    "carts_decay_30d",
    "carts_decay_90d",
)

# What a customer did: fields of the feature services and of `derive_user`. Columns that do not vary in the
# training frame (a shop without page views) are left out at fitting.
VALUE_FEATURES = (
    "recency_days",
    "tenure_days",
    "inactivity_days",
    "order_day_count",
    "mean_gap_days",
    "gap_cv",
    "overdue_ratio",
    "spend_total",
    "spend_decay_90d",
    "orders_decay_30d",
    "orders_decay_90d",
    "mean_order_value",
    "mean_order_units",
    "return_share",
    *BROWSING_FEATURES,
)

# What the trees of purchases may split on: that, and what they bought.
PURCHASE_FEATURES = (*VALUE_FEATURES, ITEM_POPULARITY)

# What the logistic partner of the trees reads: those whose logarithm has a direction.
LINEAR_FEATURES = tuple(
    name for name in VALUE_FEATURES if name not in ("inactivity_days", "mean_order_units")
)

# What a buyer spends follows what they spent: more features fitted noise on earlier folds.
AMOUNT_FEATURES = (
    "recency_days",
    "tenure_days",
    "order_day_count",
    "mean_gap_days",
    "overdue_ratio",
    "spend_total",
    "spend_decay_90d",
    "orders_decay_90d",
    "mean_order_value",
    ITEM_POPULARITY,
    *BROWSING_FEATURES,
)


@dataclass(frozen=True)
class SeasonConfig:
    """The prior on how a fold's level moves with the calendar; see `season`.

    `annual_share` of the variance repeats every year, the rest drifts with the correlation time `drift_days`.
    `smoothness` is the length scale of the annual part, `noise` the share of a fold's own variance.
    The defaults say "mostly annual, smooth over about a quarter" and are not fitted to any data set.
    """

    annual_share: float = 0.7
    smoothness: float = 1.0
    drift_days: float = 365.0
    noise: float = 0.05

    def __post_init__(self) -> None:
        _require(
            0.0 <= self.annual_share <= 1.0, "annual_share", self.annual_share, "use a share from 0 to 1"
        )
        for name in ("smoothness", "drift_days", "noise"):
            value = getattr(self, name)
            _require(value > 0, name, value, "use a number above 0")


@dataclass(frozen=True)
class TreesConfig:
    """Small boosted trees, averaged over `ensemble` seeds.

    One thread by default: rounds this small last milliseconds, and on busy cores the threads mostly wait for
    each other (ten times slower on two shared cores).
    """

    rounds: int = 100
    max_depth: int = 2
    learning_rate: float = 0.07
    min_child_weight: float = 20.0
    reg_lambda: float = 5.0
    subsample: float = 0.7
    colsample: float = 0.5
    ensemble: int = 3
    threads: int = 1

    def __post_init__(self) -> None:
        for name in ("rounds", "max_depth", "ensemble", "threads"):
            value = getattr(self, name)
            _require(value >= 1, name, value, "use at least 1")
        for name in ("learning_rate", "subsample", "colsample"):
            value = getattr(self, name)
            _require(0.0 < value <= 1.0, name, value, "use a number above 0 up to 1")
        for name in ("min_child_weight", "reg_lambda"):
            value = getattr(self, name)
            _require(value >= 0.0, name, value, "use 0 or more")


@dataclass(frozen=True)
class LinearConfig:
    """The logistic partner of the trees: its ridge penalty, and its share of the common margin."""

    penalty: float = 30.0
    share: float = 0.5

    def __post_init__(self) -> None:
        _require(self.penalty > 0.0, "penalty", self.penalty, "use a number above 0")
        _require(0.0 <= self.share < 1.0, "share", self.share, "use a share from 0 up to below 1")


@dataclass(frozen=True)
class PurchaseConfig:
    """Whether somebody buys within the horizon: trees and a line, averaged."""

    trees: TreesConfig = field(default_factory=TreesConfig)
    linear: LinearConfig = field(default_factory=LinearConfig)
    season: SeasonConfig = field(default_factory=SeasonConfig)
    features: tuple[str, ...] = PURCHASE_FEATURES
    linear_features: tuple[str, ...] = LINEAR_FEATURES


@dataclass(frozen=True)
class CutoffConfig:
    """Where training and evaluation cut-offs lie; see `splits`.

    `horizon_days` is the length of the label window. Evaluation cut-offs are `evaluation_step_days` apart,
    training cut-offs `training_step_days`, none with less than `minimum_history_days` of data before it.
    Whether somebody buys is also learned from later cut-offs, whose label window is cut at the evaluation but
    lasts at least `shortest_label_days`.
    """

    horizon_days: int = 90
    evaluation_cutoffs: int = 4
    evaluation_step_days: int = 30
    training_cutoffs: int = 12
    training_step_days: int = 15
    minimum_history_days: int = 30
    shortest_label_days: int = 30

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            _require(value >= 1, name, value, "use at least 1")


@dataclass(frozen=True)
class ChurnConfig:
    """No purchase within the horizon, among customers with an order before the cut-off."""

    cutoffs: CutoffConfig = field(default_factory=CutoffConfig)
    purchase: PurchaseConfig = field(default_factory=PurchaseConfig)

    def to_dict(self) -> dict[str, Any]:
        """All fields, for logging and for the model's own file."""
        return asdict(self)


@dataclass(frozen=True)
class ClvConfig:
    """Money spent within the horizon: whether somebody buys, times how much a buyer spends.

    `coverage` is the share of customers whose spend the interval is to contain.
    """

    cutoffs: CutoffConfig = field(default_factory=CutoffConfig)
    purchase: PurchaseConfig = field(default_factory=PurchaseConfig)
    amount: TreesConfig = field(default_factory=lambda: TreesConfig(rounds=80))
    season: SeasonConfig = field(default_factory=SeasonConfig)
    amount_features: tuple[str, ...] = AMOUNT_FEATURES
    coverage: float = 0.8

    def __post_init__(self) -> None:
        _require(0.0 < self.coverage < 1.0, "coverage", self.coverage, "use a share between 0 and 1")

    def to_dict(self) -> dict[str, Any]:
        """All fields, for logging and for the model's own file."""
        return asdict(self)


@dataclass(frozen=True)
class SegmentConfig:
    """Thresholds of the value segments; money in the shop's currency, over the CLV model's horizon.

    `at_risk_from` and `churned_from` are churn probabilities.
    """

    value_high: float = 1000.0
    value_low: float = 200.0
    at_risk_from: float = 0.6
    churned_from: float = 0.85

    def __post_init__(self) -> None:
        _require(0 < self.value_high < float("inf"), "value_high", self.value_high, "use a number above 0")
        _require(0 <= self.value_low < self.value_high, "value_low", self.value_low, "use 0 up to value_high")
        is_share = 0.0 < self.churned_from <= 1.0
        _require(is_share, "churned_from", self.churned_from, "use a probability above 0 up to 1")
        ordered = 0.0 < self.at_risk_from < self.churned_from
        _require(ordered, "at_risk_from", self.at_risk_from, "use a probability below churned_from")

    def to_dict(self) -> dict[str, Any]:
        """All fields, for logging."""
        return asdict(self)


@dataclass(frozen=True)
class RetentionConfig:
    """What keeping a customer costs and brings.

    `save_rate` is the assumed share of those about to leave whom the action keeps, `cost` the money of one
    action, `margin_share` the part of the spend that is earned. `least_probability` bounds the division that
    turns an expectation into the spend of a buyer.
    """

    save_rate: float = 0.1
    cost: float = 1.0
    margin_share: float = 0.3
    least_probability: float = 0.05

    def __post_init__(self) -> None:
        _require(0.0 <= self.cost < float("inf"), "cost", self.cost, "use 0 or more")
        for name in ("save_rate", "margin_share", "least_probability"):
            value = getattr(self, name)
            _require(0.0 < value <= 1.0, name, value, "use a share above 0 up to 1")


@dataclass(frozen=True)
class NextPurchaseConfig:
    """When the next order comes: accelerated failure time, in days from the cut-off.

    `coverage` is the share of customers whose next order the interval is to contain.
    """

    cutoffs: CutoffConfig = field(default_factory=CutoffConfig)
    trees: TreesConfig = field(default_factory=lambda: TreesConfig(ensemble=1))
    features: tuple[str, ...] = VALUE_FEATURES
    scale: float = 1.2
    coverage: float = 0.8

    def __post_init__(self) -> None:
        _require(self.scale > 0.0, "scale", self.scale, "use a number above 0")
        _require(0.0 < self.coverage < 1.0, "coverage", self.coverage, "use a share between 0 and 1")

    def to_dict(self) -> dict[str, Any]:
        """All fields, for logging and for the model's own file."""
        return asdict(self)


def _require(holds: bool, name: str, value: object, allowed: str) -> None:
    if not holds:
        raise InvalidConfig(name, value, allowed)
