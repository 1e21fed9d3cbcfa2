"""Who buys *because of* a treatment (an offer, an e-mail), learned from a randomised experiment.

**The learner** is the DR-learner (Kennedy 2023) on boosted trees: outcome models of both arms, fitted across
folds, give each customer the pseudo-outcome

    m1 - m0 + treated (y - m1) / p - (1 - treated) (y - m0) / (1 - p)

whose mean given the features is the effect of the treatment; trees are fitted to it. The propensity `p` (the
chance to be treated) is known, because the experiment drew it, so the pseudo-outcome is right even where the
outcome models are not. Data without a random draw do not belong here: nothing adjusts for hidden causes.

**Measuring** needs scores of customers whom the model did not see (`cross_fitted_uplift`). The effect of one
customer is never observed; what is observed is whether those ranked high react more (`qini`, Radcliffe 2007)
and what a rule that treats them would have earned (`policy_values`, by inverse propensity).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit

from training.boosting import Trees, fit_trees
from training.errors import InvalidConfig, NotEnoughData
from training.intervals import Estimate
from training.off_policy import LoggedRewards, OffPolicyResult, Target, evaluate_policy
from training.value_config import TreesConfig

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

QINI_BINS = 100
SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True)
class UpliftConfig:
    """Folds of cross-fitting, the fewest customers an arm needs, the trees of the outcomes and of the effect.

    The effect is small beside the noise of its pseudo-outcomes: its trees are fewer, and their leaves large.
    """

    folds: int = 3
    minimum_arm: int = 500
    outcome: TreesConfig = field(default_factory=lambda: TreesConfig(ensemble=1))
    effect: TreesConfig = field(
        default_factory=lambda: TreesConfig(rounds=60, learning_rate=0.05, min_child_weight=200.0)
    )

    def __post_init__(self) -> None:
        if self.folds < 2:
            raise InvalidConfig("folds", self.folds, "use at least 2")
        if self.minimum_arm < self.folds:
            raise InvalidConfig("minimum_arm", self.minimum_arm, "use at least the number of folds")

    def to_dict(self) -> dict[str, Any]:
        """All fields, for logging."""
        return asdict(self)


@dataclass(frozen=True)
class Experiment:
    """One row per customer of a randomised experiment with two arms.

    `features` as they were before the treatment, `outcome` after it, `propensity` the chance to be treated
    with which the arm was drawn.
    """

    features: pd.DataFrame
    treated: BoolArray
    outcome: FloatArray
    propensity: FloatArray

    def __post_init__(self) -> None:
        lengths = [len(self.features), len(self.treated), len(self.outcome), len(self.propensity)]
        if len(set(lengths)) != 1:
            raise ValueError(f"features, treated, outcome and propensity have {lengths} rows; give one each")
        wrong = ~((self.propensity > 0.0) & (self.propensity < 1.0))
        if wrong.any():
            value = self.propensity[wrong][0]
            raise ValueError(f"propensity={value!r}: both arms must have been possible; drop the row")

    def __len__(self) -> int:
        return len(self.treated)

    def rows(self, chosen: BoolArray) -> "Experiment":
        """The chosen customers."""
        return Experiment(
            self.features[chosen].reset_index(drop=True),
            self.treated[chosen],
            self.outcome[chosen],
            self.propensity[chosen],
        )

    @property
    def chance_of_own_arm(self) -> FloatArray:
        """How likely each customer's arm was."""
        return np.where(self.treated, self.propensity, 1.0 - self.propensity)


@dataclass(frozen=True)
class UpliftModel:
    """Predicts what the treatment adds to the outcome, in the outcome's unit."""

    effect: Trees
    mean_effect: float

    def predict(self, features: pd.DataFrame) -> FloatArray:
        """Expected increment of each customer's outcome if treated."""
        return self.mean_effect + self.effect.margin(features)


@dataclass(frozen=True)
class PolicyValue:
    """Mean outcome per customer if the `share` with the highest scores is treated and nobody else."""

    share: float
    value: OffPolicyResult


def fit_uplift(experiment: Experiment, config: UpliftConfig | None = None, seed: int = 0) -> UpliftModel:
    """Fits the DR-learner. Raises NotEnoughData where an arm is too small."""
    options = config or UpliftConfig()
    for name, count in (("treated", experiment.treated.sum()), ("control", (~experiment.treated).sum())):
        if count < options.minimum_arm:
            remedy = "let the experiment run longer or give the arm more traffic"
            raise NotEnoughData(
                f"{name} customers of the experiment", int(count), options.minimum_arm, remedy
            )
    pseudo = _pseudo_outcomes(experiment, options, seed)
    mean = float(pseudo.mean())
    return UpliftModel(_trees(experiment.features, pseudo - mean, options.effect, seed), mean)


def cross_fitted_uplift(
    experiment: Experiment, config: UpliftConfig | None = None, seed: int = 0
) -> FloatArray:
    """Each customer's predicted increment by a model that did not see them."""
    options = config or UpliftConfig()
    fold = _folds(len(experiment), options.folds, seed)
    scores = np.empty(len(experiment))
    for number in range(options.folds):
        model = fit_uplift(experiment.rows(fold != number), options, seed + number)
        scores[fold == number] = model.predict(experiment.features[fold == number])
    return scores


def average_effect(experiment: Experiment) -> Estimate:
    """The difference of the arms' means (Hajek), with the 95 % interval of two independent means."""
    parts = []
    for arm in (experiment.treated, ~experiment.treated):
        weight = 1.0 / experiment.chance_of_own_arm[arm]
        outcome = experiment.outcome[arm]
        mean = float(np.average(outcome, weights=weight))
        parts.append((mean, float(np.sum((weight * (outcome - mean)) ** 2)) / float(weight.sum()) ** 2))
    (treated, first), (control, second) = parts
    margin = 1.96 * float(np.sqrt(first + second))
    return Estimate(treated - control, treated - control - margin, treated - control + margin)


def qini(
    experiment: Experiment, score: FloatArray, *, seed: int, draws: int = 1000, level: float = 0.95
) -> Estimate:
    """The Qini coefficient with its bootstrap interval over customers, the scores held fixed.

    The area between the Qini curve and the straight line of treating at random. The curve gives, for the
    share with the highest scores, that share times the difference of its arms' means: the outcomes that
    treating them adds, per customer of the whole. 0 for a useless ranking; in the outcome's unit.
    """
    bins = _bins(score)
    weight = 1.0 / experiment.chance_of_own_arm
    columns = [
        values
        for arm in (experiment.treated, ~experiment.treated)
        for values in (weight * arm, weight * arm * experiment.outcome)
    ]
    rng = np.random.default_rng(seed)
    size = int(bins.max()) + 1

    def area(counts: FloatArray) -> float:
        sums = np.array([np.bincount(bins, counts * column, minlength=size) for column in columns])
        return _area(np.asarray(np.bincount(bins, counts, minlength=size), dtype=np.float64), sums)

    value = area(np.ones(len(bins)))
    people = len(bins)
    found = [
        area(np.bincount(rng.integers(0, people, people), minlength=people).astype(np.float64))
        for _ in range(draws)
    ]
    low, high = np.quantile(found, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return Estimate(value, float(low), float(high))


def policy_values(
    experiment: Experiment, score: FloatArray, shares: Sequence[float] = SHARES
) -> list[PolicyValue]:
    """What treating each share of the customers, best scores first, would have earned per customer.

    Self-normalised inverse propensity on the experiment's own draw; share 0 treats nobody, 1 everybody.
    """
    logged = LoggedRewards(np.arange(len(experiment)), experiment.outcome, experiment.chance_of_own_arm)
    place = np.empty(len(score), dtype=np.int64)
    place[np.argsort(-score, kind="stable")] = np.arange(len(score))
    values = []
    for share in shares:
        wants = place < round(share * len(score))
        target = Target((wants == experiment.treated).astype(np.float64))
        values.append(PolicyValue(share, evaluate_policy(logged, target, "snips")))
    return values


def _pseudo_outcomes(experiment: Experiment, config: UpliftConfig, seed: int) -> FloatArray:
    fold = _folds(len(experiment), config.folds, seed)
    expected = {True: np.empty(len(experiment)), False: np.empty(len(experiment))}
    for number in range(config.folds):
        for arm, values in expected.items():
            known = (fold != number) & (experiment.treated == arm)
            values[fold == number] = _predicted_outcome(experiment, known, fold == number, config, seed)
    own = np.where(experiment.treated, expected[True], expected[False])
    surprise = (experiment.outcome - own) / experiment.chance_of_own_arm
    effect = expected[True] - expected[False]
    return np.asarray(effect + np.where(experiment.treated, surprise, -surprise), dtype=np.float64)


def _predicted_outcome(
    experiment: Experiment, known: BoolArray, wanted: BoolArray, config: UpliftConfig, seed: int
) -> FloatArray:
    outcome = experiment.outcome[known]
    mean = float(outcome.mean())
    is_binary = bool(np.isin(outcome, (0.0, 1.0)).all()) and 0.0 < mean < 1.0
    if not is_binary:
        trees = _trees(experiment.features[known], outcome - mean, config.outcome, seed)
        return mean + trees.margin(experiment.features[wanted])
    features = experiment.features[known]
    zero = np.zeros(len(outcome), dtype=np.int64)
    trees = fit_trees(features, outcome, zero, "logistic", tuple(features.columns), config.outcome, seed)
    offset = float(np.log(mean / (1.0 - mean)))
    return np.asarray(expit(offset + trees.margin(experiment.features[wanted])), dtype=np.float64)


def _trees(features: pd.DataFrame, target: FloatArray, config: TreesConfig, seed: int) -> Trees:
    zero = np.zeros(len(target), dtype=np.int64)
    return fit_trees(features, target, zero, "squared", tuple(features.columns), config, seed)


def _folds(count: int, folds: int, seed: int) -> IntArray:
    """Equal folds in an order that the seed draws: the experiment's customers are exchangeable."""
    fold = np.arange(count) % folds
    return np.asarray(np.random.default_rng(seed).permutation(fold), dtype=np.int64)


def _bins(score: FloatArray) -> IntArray:
    """Rank bins, best first; equal scores share one, so that no order among them is made up."""
    edges = np.unique(np.quantile(score, np.linspace(0.0, 1.0, QINI_BINS + 1)[1:-1]))
    return np.asarray(len(edges) - np.searchsorted(edges, score, side="right"), dtype=np.int64)


def _area(people: FloatArray, sums: FloatArray) -> float:
    """Area between curve and chord; `sums`: weight and weighted outcome of the treated, then of others."""
    weight_1, outcome_1, weight_0, outcome_0 = np.cumsum(sums, axis=1)
    share = np.concatenate([[0.0], np.cumsum(people) / people.sum()])
    with np.errstate(invalid="ignore", divide="ignore"):
        effect = np.nan_to_num(outcome_1 / weight_1 - outcome_0 / weight_0, posinf=0.0, neginf=0.0)
    gain = share * np.concatenate([[0.0], effect])
    return float(np.trapezoid(gain - share * gain[-1], share))
