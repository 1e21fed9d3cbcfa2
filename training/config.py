"""Hyperparameters: one frozen object per model, logged whole with each run.

A value out of range raises `InvalidConfig` with the field's name when the object is made, not when the model
is fitted.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from training.errors import InvalidConfig

Weighting = Literal["binary", "log", "linear"]


@dataclass(frozen=True)
class AlsConfig:
    """Weighted matrix factorization by alternating least squares (Hu, Koren & Volinsky 2008).

    The confidence of a user-item pair is `alpha * weight(strength)`: 1 for 'binary', log(1 + s) for 'log',
    s for 'linear'. `half_life_days` decays each day's strength towards the cut-off (None: no decay).
    `trend_exponent` multiplies scores by (recent trend of the item) ** exponent, the trend being its buyers
    of the last `trend_days` against its monthly rate before; 0 switches it off.
    """

    factors: int = 128
    regularization: float = 40.0
    alpha: float = 2.0
    iterations: int = 15
    weighting: Weighting = "linear"
    half_life_days: float | None = 60.0
    trend_exponent: float = 0.25
    trend_days: int = 30

    def __post_init__(self) -> None:
        _require(self.factors >= 1, "factors", self.factors, "use at least 1")
        _require(self.regularization > 0, "regularization", self.regularization, "use a number above 0")
        _require(self.alpha > 0, "alpha", self.alpha, "use a number above 0")
        _require(self.iterations >= 1, "iterations", self.iterations, "use at least 1")
        _require(
            self.weighting in ("binary", "log", "linear"),
            "weighting",
            self.weighting,
            "binary, log or linear",
        )
        decays = self.half_life_days is None or self.half_life_days > 0
        _require(decays, "half_life_days", self.half_life_days, "use days above 0, or None for no decay")
        _require(self.trend_exponent >= 0, "trend_exponent", self.trend_exponent, "use 0 or more")
        _require(self.trend_days >= 1, "trend_days", self.trend_days, "use at least 1")

    def to_dict(self) -> dict[str, Any]:
        """All fields, for logging and for the model's own file."""
        return asdict(self)


@dataclass(frozen=True)
class BlendConfig:
    """How a released list merges 'buy again' with collaborative scores.

    Three sources between 0 and 1 are added: own history n / (n + `saturation_days`) for n days on which the
    user bought the item, weight * collaborative score (the user's best item at 1), and popularity weight *
    popularity of the last `recent_days` (the best seller at 1). The weights and the half-life of the own
    history (None: no decay) are those that do best on a validation fold before the test fold. Weight 0
    without decay, which is buying again alone, is always an option, so the choice can fall back to it.

    A list holds `length` items, of which up to `new_length` are reserved for items that the user has not
    bought, so that something is left when the shop asks for new items only; the first
    `length - new_length` items are the best overall.
    """

    weights: tuple[float, ...] = (0.0, 0.001, 0.1, 0.2, 0.4, 0.8, 1.2, 2.0)
    half_lives_days: tuple[float | None, ...] = (None, 180.0)
    popularity_weights: tuple[float, ...] = (0.0, 0.2, 0.5)
    saturation_days: float = 3.0
    recent_days: int = 30
    length: int = 100
    new_length: int = 50
    seen_length: int = 500

    def __post_init__(self) -> None:
        _require(0.0 in self.weights, "weights", self.weights, "include 0.0, which is buying again alone")
        _require(min(self.weights) >= 0.0, "weights", self.weights, "use weights of 0 or more")
        undecayed = None in self.half_lives_days
        _require(undecayed, "half_lives_days", self.half_lives_days, "include None, which is no decay")
        popular = self.popularity_weights
        _require(0.0 in popular, "popularity_weights", popular, "include 0.0, which is no popularity")
        _require(min(popular) >= 0.0, "popularity_weights", popular, "use weights of 0 or more")
        saturates = self.saturation_days > 0
        _require(saturates, "saturation_days", self.saturation_days, "use a number above 0")
        _require(self.recent_days >= 1, "recent_days", self.recent_days, "use at least 1")
        _require(self.length >= 1, "length", self.length, "use at least 1")
        in_range = 0 <= self.new_length < self.length
        _require(in_range, "new_length", self.new_length, "use 0 up to below length")
        _require(self.seen_length >= 0, "seen_length", self.seen_length, "use 0 or more")

    def to_dict(self) -> dict[str, Any]:
        """All fields, for logging."""
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()
        }


@dataclass(frozen=True)
class PopularityConfig:
    """Popularity counts distinct buyers; `recent_days` is the window before the cut-off for 'recent'."""

    recent_days: int = 30
    length: int = 200
    category_length: int = 100

    def __post_init__(self) -> None:
        _require(self.recent_days >= 1, "recent_days", self.recent_days, "use at least 1")
        _require(self.length >= 1, "length", self.length, "use at least 1")
        _require(self.category_length >= 1, "category_length", self.category_length, "use at least 1")

    def to_dict(self) -> dict[str, Any]:
        """All fields, for logging."""
        return asdict(self)


@dataclass(frozen=True)
class GateConfig:
    """The promotion gate.

    `champion_margin` is relative: a candidate may be this share below the champion on the same fold.
    `require_interval` also asks the near bound of a paired difference to a baseline to be above 0.
    `folds` is how many rolling folds are wanted. Shares are of customers unless said otherwise.

    Sound: at least `least_distinct` different scores (or `least_distinct_share`), at most
    `largest_difference` that change when read back or without the future, at most `largest_stale` with
    features that miss an order, items that somebody bought above `least_memory` of the catalogue; a candidate
    that leaves less than `least_error_left` of what the best baseline lacks to 1 is taken for a leak.
    Good: `largest_calibration_error` of probabilities; money within a factor of `largest_total_ratio`, of
    which deciles may miss `largest_decile_error`; newcomers surely below by `newcomer_margin` (relative).
    Steady: top lists share `least_overlap` with the champion's, `least_seed_overlap` with another seed's.
    Cheap: megabytes and seconds (for 1,000 customers), never above `largest_...`, nor above a multiple of the
    champion's once they are above a floor.
    `off_policy_margin` is relative to the champion's value.
    """

    champion_margin: float = 0.02
    require_interval: bool = False
    folds: int = 4
    least_distinct: int = 3
    least_distinct_share: float = 0.01
    largest_difference: float = 0.001
    largest_stale: float = 0.02
    least_memory: float = 0.6
    least_error_left: float = 0.35
    largest_calibration_error: float = 0.15
    largest_total_ratio: float = 2.0
    largest_decile_error: float = 0.75
    newcomer_margin: float = 0.05
    least_overlap: float = 0.2
    least_seed_overlap: float = 0.5
    largest_megabytes: float = 2048.0
    largest_size_ratio: float = 8.0
    size_floor_megabytes: float = 4.0
    largest_seconds: float = 60.0
    largest_time_ratio: float = 4.0
    seconds_floor: float = 0.02
    off_policy_margin: float = 0.05

    def __post_init__(self) -> None:
        for name in (
            "champion_margin",
            "least_distinct_share",
            "largest_difference",
            "largest_stale",
            "least_memory",
            "least_error_left",
            "largest_calibration_error",
            "newcomer_margin",
            "least_overlap",
            "least_seed_overlap",
            "off_policy_margin",
        ):
            value = getattr(self, name)
            _require(0.0 <= value < 1.0, name, value, "use a share from 0 up to below 1")
        for name in ("largest_total_ratio", "largest_size_ratio", "largest_time_ratio"):
            value = getattr(self, name)
            _require(value >= 1.0, name, value, "use a factor of 1 or more")
        _require(self.folds >= 1, "folds", self.folds, "use at least 1")

    def to_dict(self) -> dict[str, Any]:
        """All fields, for logging."""
        return asdict(self)


def _require(holds: bool, field: str, value: object, allowed: str) -> None:
    if not holds:
        raise InvalidConfig(field, value, allowed)
