"""What another policy would have earned, estimated from logged decisions and their propensities.

Three estimators of the mean reward per shown item under a target policy, with w = target / propensity:

    ips   mean(w r)                                      Horvitz & Thompson 1952; unbiased, noisy
    snips sum(w r) / sum(w)                              Swaminathan & Joachims 2015; bounded, a little biased
    dr    mean(qhat(target) + w (r - qhat(shown)))       Dudik, Langford & Li 2011; unbiased whatever qhat is

`qhat` must not have seen the row's own user (fit it across folds). Weights are clipped at `clip` (Ionides
2008): what that takes away is missing from the estimate, so the result says how often it happened.

**The unit is the user**, as impressions of one user depend on each other. The interval is the cluster-robust
one of the linearised estimator with Student's t, whose degrees of freedom follow from the kurtosis of the
users' contributions (Satterthwaite 1946; O'Neill 2014): where few users with large weights carry the sum, its
standard error is itself uncertain and the interval widens. Both ends allow for one more reward of the
largest weight, in the mean and in the variance (as Fay & Feuer 1997 do for weighted counts), and for the
skewness (Hall 1992): rare large weights make the error skewed, and the sample that happens to miss them looks
certain. The interval is meant to hold the truth at least as often as it says, not exactly as often.

**It abstains** (`abstains`, with the reason) where the sample is thin: the effective number of users,
(sum w)^2 / sum w^2 over users' summed weights (Kish 1965), or the same number for squared weights, which
counts the users that carry the variance, is below `minimum_sample`. A policy that nearly always does what
was done has a large effective sample even if a dozen users tell all about the rest; the second number sees
it. It also abstains where nothing was rewarded, or where the target acts outside of what was tried: the
weights of a policy whose acts were all possible average 1.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from training.errors import InvalidConfig, NotEnoughData

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Method = Literal["ips", "snips", "dr"]


@dataclass(frozen=True)
class OffPolicyConfig:
    """How weights are clipped, how sure the interval is, and when the evaluation abstains.

    `minimum_support`: the share of the target's acts, as far as the weights tell, that the log could hold.
    """

    clip: float = 1000.0
    level: float = 0.95
    minimum_sample: float = 100.0
    minimum_support: float = 0.9

    def __post_init__(self) -> None:
        if self.clip < 1.0:
            raise InvalidConfig("clip", self.clip, "use at least 1, the weight of an act that is certain")
        for name in ("level", "minimum_support"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise InvalidConfig(name, getattr(self, name), "use a share between 0 and 1")
        if self.minimum_sample < 2.0:
            raise InvalidConfig("minimum_sample", self.minimum_sample, "use at least 2 users")


@dataclass(frozen=True)
class LoggedRewards:
    """One row per shown item: who saw it (a number), what came of it, and how likely it was to be shown.

    `look` is the relative chance that the row's place is looked at, where places differ in that and the
    propensities speak of looks (see `logged_decisions`); all places are equal without it.
    """

    user: IntArray
    reward: FloatArray
    propensity: FloatArray
    look: FloatArray | None = None

    def __post_init__(self) -> None:
        lengths = {len(self.user), len(self.reward), len(self.propensity)}
        if len(lengths) != 1:
            raise ValueError(f"user, reward and propensity have different lengths: {sorted(lengths)}")
        wrong = ~((self.propensity > 0.0) & (self.propensity <= 1.0))
        if wrong.any():
            value = self.propensity[wrong][0]
            raise ValueError(f"propensity={value!r}: a shown item has one above 0 up to 1; drop the row")
        if not np.isfinite(self.reward).all():
            raise ValueError("reward has a value that is not finite; count a missing reward as 0")

    def __len__(self) -> int:
        return len(self.user)


@dataclass(frozen=True)
class Target:
    """A policy to evaluate, row by row of the log.

    `probability` is how likely it would have shown that item there. For "dr" also what a reward model
    expects of the shown item (`expected_shown`) and of what the policy would have shown (`expected_target`).
    """

    probability: FloatArray
    expected_shown: FloatArray | None = None
    expected_target: FloatArray | None = None


@dataclass(frozen=True)
class OffPolicyResult:
    """A policy's mean reward per shown item, or the difference of two, with its interval.

    `effective_sample` and `carrying_sample` count users (see the module). `support` is the mean weight before
    clipping (of a look, where places differ): 1 where all acts of the target could have been logged.
    `clipped` is the share of rows whose weight was clipped. If `abstains`, the figures are for information
    and decide nothing; `reason` says why.
    """

    estimate: float
    low: float
    high: float
    effective_sample: float
    carrying_sample: float
    abstains: bool
    reason: str
    method: str
    support: float
    clipped: float
    users: int
    rows: int

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)

    def __str__(self) -> str:
        text = f"{self.estimate:.4f} [{self.low:.4f}, {self.high:.4f}]"
        text += f" ({self.method}, {self.effective_sample:.0f} effective users of {self.users})"
        return f"{text}; abstains: {self.reason}" if self.abstains else text


def evaluate_policy(
    logged: LoggedRewards, target: Target, method: Method = "dr", config: OffPolicyConfig | None = None
) -> OffPolicyResult:
    """The target's mean reward per shown item; see the module for estimators, interval and abstention."""
    options = config or OffPolicyConfig()
    parts = _parts(logged, target, method, options)
    return _result(logged, parts.value, parts.influence, parts.weight, [parts], method, options)


def policy_difference(
    logged: LoggedRewards,
    candidate: Target,
    champion: Target,
    method: Method = "dr",
    config: OffPolicyConfig | None = None,
) -> OffPolicyResult:
    """Candidate minus champion on the same rows, paired by user.

    The effective sample counts what tells them apart, |w_candidate - w_champion|: two policies that mostly
    agree are each well known while their difference may rest on a handful of users.
    """
    options = config or OffPolicyConfig()
    ours, theirs = (_parts(logged, target, method, options) for target in (candidate, champion))
    return _result(
        logged,
        ours.value - theirs.value,
        ours.influence - theirs.influence,
        np.abs(ours.weight - theirs.weight),
        [ours, theirs],
        method,
        options,
    )


def effective_sample(weight: FloatArray) -> float:
    """Kish's effective number of users: (sum w)^2 / sum w^2 over the users' weights; 0 without weight."""
    squares = float(np.sum(weight**2))
    return float(weight.sum() ** 2) / squares if squares > 0.0 else 0.0


@dataclass(frozen=True)
class _Parts:
    """An estimator's value, each row's influence on it, the clipped weights, mean weight, share clipped."""

    value: float
    influence: FloatArray
    weight: FloatArray
    support: float
    clipped: float


def _parts(logged: LoggedRewards, target: Target, method: Method, config: OffPolicyConfig) -> _Parts:
    if len(logged) == 0:
        raise NotEnoughData(
            "logged rewards", 0, 1, "serve with exploration (epsilon above 0) and land the log"
        )
    if len(target.probability) != len(logged):
        raise ValueError(f"the target has {len(target.probability)} rows, the log {len(logged)}")
    raw = target.probability / logged.propensity
    weight = np.minimum(raw, config.clip)
    reward = logged.reward
    look = np.ones(len(logged)) if logged.look is None else logged.look
    seen, weighed = float(look.mean()), float((weight * look).mean())
    if method == "snips":
        value = float((weight * reward).mean()) * seen / weighed if weighed > 0.0 else 0.0
        slope = 1.0 / max(weighed, 1e-12)
        influence = slope * weight * (seen * reward - value * look) + value * (look / seen - 1.0)
    elif method == "ips":
        value = float((weight * reward).mean())
        influence = weight * reward - value
    else:
        if target.expected_shown is None or target.expected_target is None:
            raise ValueError(
                "method 'dr' needs expected_shown and expected_target; without a model use 'snips'"
            )
        terms = target.expected_target + weight * (reward - target.expected_shown)
        value = float(terms.mean())
        influence = terms - value
    support = float((raw * look).mean()) / seen
    return _Parts(value, influence, weight, support, float((raw > config.clip).mean()))


def _result(
    logged: LoggedRewards,
    value: float,
    influence: FloatArray,
    weight: FloatArray,
    parts: list[_Parts],
    method: Method,
    config: OffPolicyConfig,
) -> OffPolicyResult:
    _, user = np.unique(logged.user, return_inverse=True)
    largest = float(weight.max() * np.abs(logged.reward).max()) / len(logged)
    margin = _margin(np.bincount(user, influence) / len(logged), largest, config.level)
    totals = np.asarray(np.bincount(user, weight), dtype=np.float64)
    sample, carrying = effective_sample(totals), effective_sample(totals**2)
    support = min(each.support for each in parts)
    clipped = max(each.clipped for each in parts)
    problem = _problem(logged, sample, carrying, support, config)
    fine = f"the effective sample is {sample:.0f} users and {support:.0%} of the acts were possible"
    return OffPolicyResult(
        value,
        value - margin,
        value + margin,
        sample,
        carrying,
        problem is not None,
        problem or fine,
        f"{method}, weights clipped at {config.clip:g}",
        support,
        clipped,
        int(user.max()) + 1,
        len(logged),
    )


def _margin(contribution: FloatArray, largest: float, level: float) -> float:
    """Half the interval around a sum of independent users' contributions, which add up to about 0.

    `largest`: what one more rewarded row could add to the sum.
    """
    users = len(contribution)
    if users < 2:
        return float("inf")
    largest = max(largest, float(np.abs(contribution).max()))
    squares, cubes, fourths = (float(np.sum(contribution**power)) for power in (2, 3, 4))
    kurtosis, asymmetry = (users * fourths / squares**2, cubes / squares) if squares > 0.0 else (0.0, 0.0)
    freedom = max(1.0, 2.0 * users / max(kurtosis - (users - 3) / (users - 1), 2.0))
    quantile = float(stats.t.ppf(0.5 + level / 2.0, freedom))
    error = float(np.sqrt(squares * users / (users - 1) + largest**2))
    normal = float(stats.norm.ppf(0.5 + level / 2.0))
    return quantile * error + largest + (2.0 * normal**2 + 1.0) / 6.0 * abs(asymmetry)


def _problem(
    logged: LoggedRewards, sample: float, carrying: float, support: float, config: OffPolicyConfig
) -> str | None:
    """Why nothing can be decided, or None."""
    wanted = f"below {config.minimum_sample:.0f}; wait for more logs or explore more"
    if sample < config.minimum_sample:
        return f"the effective sample is {sample:.0f} users, {wanted}"
    if carrying < config.minimum_sample:
        return f"{carrying:.0f} of {sample:.0f} effective users carry the variance, {wanted}"
    if not logged.reward.any():
        return "no reward was logged; wait for some or choose a more frequent one"
    if support < config.minimum_support:
        reason = f"only {support:.0%} of what the policy would show could have been logged"
        return f"{reason}, below {config.minimum_support:.0%}; explore over more items"
    return None
