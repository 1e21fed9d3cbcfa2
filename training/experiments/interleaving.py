"""Team-draft interleaving: which of two rankings visitors prefer, when each list holds items of both.

Two rankings pick in turns, a coin deciding who begins each round, what they like best of the items that are
left, so that neither is favoured by place. Each click credits the team that drafted the item (Radlinski,
Kurup & Joachims 2008). Clicks of one visitor are not independent, so a visitor's preference is one number,
(wins - losses) over lists with a click, in [-1, 1], and visitors are compared (Chapelle, Joachims, Radlinski
& Yue 2012). A list that both won alike is a tie and counts as no preference.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from training.errors import NotEnoughData

FIRST, SECOND = 0, 1


def team_draft(
    first: Sequence[str], second: Sequence[str], length: int, rng: np.random.Generator
) -> tuple[list[str], list[int]]:
    """One list of at most `length` items of both rankings, best first, and who drafted each: FIRST or SECOND.

    No item comes twice. A ranking that has nothing left passes, so the list is shorter only if both have.
    """
    rankings = (iter(first), iter(second))
    items: dict[str, int] = {}
    while len(items) < length:
        begins = int(rng.integers(2))
        before = len(items)
        for team in (begins, 1 - begins):
            pick = next((item for item in rankings[team] if item not in items), None)
            if pick is not None and len(items) < length:
                items[pick] = team
        if len(items) == before:
            break
    return list(items), list(items.values())


@dataclass(frozen=True)
class Preference:
    """How much visitors prefer the second ranking: 1 always, 0 not at all, -1 the first one always.

    `sign_p_value`: an exact test of the visitors who prefer either, which assumes nothing of their clicks.
    """

    visitors: int
    prefer_first: int
    prefer_second: int
    preference: float
    low: float
    high: float
    p_value: float
    sign_p_value: float


def preference(
    visitors: npt.ArrayLike, first_clicks: npt.ArrayLike, second_clicks: npt.ArrayLike, level: float = 0.95
) -> Preference:
    """The preference over lists: arrays with one row per list shown, `visitors` naming whose it was.

    Lists without a click say nothing. Raises `NotEnoughData` with fewer than two visitors who clicked.
    """
    first, second = np.asarray(first_clicks, dtype=np.float64), np.asarray(second_clicks, dtype=np.float64)
    clicked = first + second > 0
    names, places = np.unique(np.asarray(visitors)[clicked], return_inverse=True)
    if len(names) < 2:
        raise NotEnoughData("visitors who clicked", len(names), 2, "wait for more")
    wins = np.sign(second - first)[clicked]
    scores = np.bincount(places, wins) / np.bincount(places)
    prefer_first, prefer_second = int((scores < 0).sum()), int((scores > 0).sum())
    mean = float(scores.mean())
    error = float(scores.std(ddof=1) / np.sqrt(len(scores)))
    reach = float(stats.t.ppf(0.5 + level / 2, len(scores) - 1)) * error
    decided = prefer_first + prefer_second
    return Preference(
        visitors=len(names),
        prefer_first=prefer_first,
        prefer_second=prefer_second,
        preference=mean,
        low=mean - reach,
        high=mean + reach,
        p_value=_p_value(mean, error, len(scores) - 1),
        sign_p_value=float(stats.binomtest(prefer_second, decided).pvalue) if decided else 1.0,
    )


def _p_value(mean: float, error: float, freedom: int) -> float:
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * stats.t.sf(abs(mean) / error, freedom))
