"""Rates from counts, shrunk to what is known of the whole, and how sure one can be of them.

A rate is a Beta distribution: its prior has the mean of the whole and the weight of a stated number of
observations. Few observations move it little, many move it to themselves.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

NORMAL_95 = 1.959964


@dataclass(frozen=True, slots=True)
class Rate:
    """Beta(`successes`, `failures`), prior included; `observed` counts what was really seen."""

    successes: float
    failures: float
    observed: int

    @property
    def mean(self) -> float:
        return self.successes / (self.successes + self.failures)

    @property
    def deviation(self) -> float:
        """Standard deviation of the rate, relative to its mean."""
        return math.sqrt(self.failures / (self.successes * (self.successes + self.failures + 1.0)))

    @property
    def log_mean(self) -> float:
        """Mean of the logarithm of the rate."""
        return digamma(self.successes) - digamma(self.successes + self.failures)

    @property
    def log_variance(self) -> float:
        """Variance of the logarithm of the rate."""
        return trigamma(self.successes) - trigamma(self.successes + self.failures)


def shrunk(responded: int, shown: int, prior_mean: float, weight: float) -> Rate:
    """The rate of `responded` out of `shown`; the prior weighs as much as `weight` observations.

    More responses than shows (a show that was not reported) count as that many shows.
    """
    shown = max(shown, responded)
    mean = min(max(prior_mean, 1e-4), 1.0 - 1e-4)
    return Rate(mean * weight + responded, (1.0 - mean) * weight + shown - responded, shown)


def nested(
    part: tuple[int, int], whole: tuple[int, int], prior_mean: float, weight: float, part_weight: float
) -> Rate:
    """The rate of a part (a segment), shrunk to that of the whole, itself shrunk to the prior.

    Pairs are (shown, responded). The whole is taken without the part: nothing is counted twice. A part of
    which nothing was seen is held to be like the whole.
    """
    rest = (max(0, whole[0] - part[0]), max(0, whole[1] - part[1]))
    around = shrunk(rest[1], rest[0], prior_mean, weight)
    if not part[0] and not part[1]:
        return around
    strength = min(part_weight, around.successes + around.failures)
    found = shrunk(part[1], part[0], around.mean, strength)
    return Rate(found.successes, found.failures, part[0] + rest[0])


def shares(counts: Mapping[str, float], prior: Mapping[str, float], weight: float) -> dict[str, float]:
    """Share of each name of `prior` in `counts`, shrunk to `prior` (which need not add up to one)."""
    whole = sum(prior.values()) or 1.0
    total = sum(counts.get(name, 0.0) for name in prior) + weight
    return {
        name: (counts.get(name, 0.0) + weight * part / whole) / total if total else part / whole
        for name, part in prior.items()
    }


def blended(counts: Sequence[float], prior: Sequence[float], weight: float) -> list[float]:
    """The same over positions: a histogram, such as of hours, shrunk to another one."""
    found = shares(
        {str(index): count for index, count in enumerate(counts)},
        {str(index): count for index, count in enumerate(prior)},
        weight,
    )
    return list(found.values())


def normal_cdf(value: float) -> float:
    """Probability that a standard normal variable is at most `value`."""
    return 0.5 * (1.0 + math.erf(value / math.sqrt(2.0)))


def digamma(value: float) -> float:
    """Derivative of log gamma, for positive numbers: recurrence to 6 and above, then its series."""
    result = 0.0
    while value < 6.0:
        result -= 1.0 / value
        value += 1.0
    inverse = 1.0 / (value * value)
    series = inverse * (1 / 12 - inverse * (1 / 120 - inverse * (1 / 252 - inverse * (1 / 240))))
    return result + math.log(value) - 0.5 / value - series


def trigamma(value: float) -> float:
    """Derivative of digamma, for positive numbers."""
    result = 0.0
    while value < 6.0:
        result += 1.0 / (value * value)
        value += 1.0
    inverse = 1.0 / (value * value)
    series = inverse * (1 / 6 - inverse * (1 / 30 - inverse * (1 / 42 - inverse * (1 / 30))))
    return result + 1.0 / value + 0.5 * inverse + series / value
