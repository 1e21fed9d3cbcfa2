"""Whether visitors came to the arms in the shares that were planned.

A mismatch means that some were lost after they were dealt (a crash, a redirect, a bot filter), and who is
lost is never random: no result of such an experiment means anything (Fabijan et al. 2019). Pearson's
chi-square; with two arms with Yates' correction, so that healthy experiments are flagged no more often than
the limit says.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

BLOCKS_BELOW = 0.001


@dataclass(frozen=True)
class SampleRatio:
    """Users of each arm beside the planned shares."""

    observed: Mapping[str, int]
    expected: Mapping[str, float]
    p_value: float

    @property
    def is_mismatch(self) -> bool:
        """Blocks the verdict."""
        return self.p_value < BLOCKS_BELOW


def p_values(counts: npt.ArrayLike, shares: Sequence[float]) -> npt.NDArray[np.float64]:
    """Of the last axis, one count per arm; 1 where there are no users. Shares need not sum to 1."""
    observed = np.asarray(counts, dtype=np.float64)
    planned = np.asarray(shares, dtype=np.float64)
    expected = observed.sum(axis=-1, keepdims=True) * planned / planned.sum()
    correction = 0.5 if len(planned) == 2 else 0.0
    gaps = np.maximum(np.abs(observed - expected) - correction, 0.0)
    statistic = np.divide(gaps**2, expected, out=np.zeros_like(gaps), where=expected > 0).sum(axis=-1)
    return np.asarray(stats.chi2.sf(statistic, len(planned) - 1))


def sample_ratio(counts: Mapping[str, int], shares: Mapping[str, float]) -> SampleRatio:
    """The check of one experiment. An arm of share 0 that has users is a mismatch of its own."""
    planned = {name: share for name, share in shares.items() if share > 0}
    if any(count > 0 for name, count in counts.items() if name not in planned):
        return SampleRatio(dict(counts), dict(shares), 0.0)
    total = sum(planned.values())
    observed = [counts.get(name, 0) for name in planned]
    p_value = float(p_values(observed, list(planned.values()))) if len(planned) > 1 else 1.0
    return SampleRatio(dict(counts), {name: share / total for name, share in planned.items()}, p_value)
