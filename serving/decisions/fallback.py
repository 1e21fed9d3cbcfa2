"""What the model says of a history that it never saw: the best items of a fold-in.

What fills up a list where little or nothing is known stands in `candidates.fillers`.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

# Weight of the latest item and of each older one relative to the one after it: recent interest counts more.
RECENCY_WEIGHT = 0.9


def recency_strengths(count: int, last: float = 1.0) -> list[float]:
    """Strength of each of `count` items, latest first."""
    return [last * RECENCY_WEIGHT**age for age in range(count)]


def best_scores(
    item_ids: Sequence[str], scores: npt.NDArray[np.float32], count: int
) -> list[tuple[str, float]]:
    """The `count` best positive scores with their items, best first; ties in catalogue order."""
    wanted = min(len(scores), count)
    if not wanted:
        return []
    top = np.argpartition(-scores, wanted - 1)[:wanted]
    top = top[np.lexsort((top, -scores[top]))]
    return [(item_ids[index], float(scores[index])) for index in top if scores[index] > 0]
