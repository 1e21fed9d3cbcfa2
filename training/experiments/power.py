"""How many visitors an experiment needs, and how long that takes.

Normal approximation for a two-sided comparison of two means with unequal variances (the textbook formula;
van Belle 2008, ch. 2). Standard library only, so that the service can answer with it.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

from training.errors import InvalidPlan

# An answer beyond these tells nothing that "impossible" does not.
MOST_USERS = 10**12
MOST_DAYS = 36_500


@dataclass(frozen=True)
class Plan:
    """What an experiment needs. `users_per_variant` for the fixed-horizon test at its end.

    `users_per_variant_always_valid`: for the same power by that many users with a look at any time; on
    average it ends earlier. `days`: until so many are exposed and the last of them has a closed window; None
    if the visitors of a day are not given.
    """

    users_per_variant: int
    users_per_variant_always_valid: int
    days: int | None
    days_always_valid: int | None
    absolute_effect: float


@dataclass(frozen=True)
class Question:
    """What is asked for; `mean` and `deviation` are of a user's value in the control, `lift` is relative.

    `variants` counts the control; each further one is compared with it at alpha / (variants - 1).
    `visitors_per_day` who would be exposed, in all variants; equal shares.
    """

    mean: float
    deviation: float
    lift: float
    treated_deviation: float | None = None
    alpha: float = 0.05
    power: float = 0.8
    variants: int = 2
    visitors_per_day: float | None = None
    window_days: int = 7

    def __post_init__(self) -> None:
        checks = (
            ("mean", self.mean, self.mean > 0, "above 0"),
            ("deviation", self.deviation, self.deviation > 0, "above 0"),
            ("lift", self.lift, self.lift != 0 and self.lift > -1, "not 0, above -1"),
            ("alpha", self.alpha, 0 < self.alpha < 0.5, "between 0 and 0.5"),
            ("power", self.power, 0.5 <= self.power < 1, "from 0.5 to below 1"),
            ("variants", self.variants, self.variants >= 2, "2 or more"),
            ("visitors_per_day", self.visitors_per_day, (self.visitors_per_day or 1) > 0, "above 0"),
        )
        for name, value, holds, remedy in checks:
            if not holds or (isinstance(value, float) and not math.isfinite(value)):
                raise InvalidPlan(name, value, remedy)


def of_share(share: float, lift: float) -> tuple[float, float]:
    """Standard deviations of a user's 0 or 1 in the control and in the treated arm."""
    raised = share * (1 + lift)
    if not 0 < share < 1:
        raise InvalidPlan("baseline", share, "a share between 0 and 1")
    if not 0 < raised < 1:
        raise InvalidPlan("lift", lift, f"such that {share:g} raised by it stays below 1")
    return math.sqrt(share * (1 - share)), math.sqrt(raised * (1 - raised))


def plan(question: Question) -> Plan:
    """Users and days for this effect at this power; `InvalidPlan` where no shop could gather so many."""
    alpha = question.alpha / (question.variants - 1)
    effect = question.mean * question.lift
    treated = question.treated_deviation or question.deviation
    noise = math.hypot(question.deviation / question.mean, treated / question.mean)
    beyond = NormalDist().inv_cdf(question.power)
    reach = (NormalDist().inv_cdf(1 - alpha / 2) + beyond, always_valid_limit(alpha) + beyond)
    if max(reach) * noise > abs(question.lift) * math.sqrt(MOST_USERS):
        raise InvalidPlan("lift", question.lift, f"a larger change, which {MOST_USERS:.0e} visitors can show")
    fixed, sequential = (max(1, math.ceil((each * noise / question.lift) ** 2)) for each in reach)
    return Plan(fixed, sequential, _days(question, fixed), _days(question, sequential), effect)


def detectable_lift(question: Question, users_per_variant: int) -> float:
    """The smallest relative effect that so many users show at this power, for equal deviations."""
    alpha = question.alpha / (question.variants - 1)
    reach = NormalDist().inv_cdf(1 - alpha / 2) + NormalDist().inv_cdf(question.power)
    return reach * question.deviation * math.sqrt(2 / users_per_variant) / question.mean


def always_valid_limit(alpha: float) -> float:
    """The score that the confidence sequence demands at its planned number of users (`sequential`)."""
    information = -2 * math.log(0.05) + math.log1p(-2 * math.log(0.05))
    return math.sqrt((1 + 1 / information) * math.log((1 + information) / alpha**2))


def _days(question: Question, users_per_variant: int) -> int | None:
    if question.visitors_per_day is None:
        return None
    exposed = users_per_variant * question.variants / question.visitors_per_day
    if exposed > MOST_DAYS:
        raise InvalidPlan("visitors_per_day", question.visitors_per_day, "so many that it ends in a century")
    return math.ceil(exposed) + question.window_days
