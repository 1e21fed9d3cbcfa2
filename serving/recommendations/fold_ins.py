"""The model's items for the history of somebody without a stored list, kept by history."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from serving.decisions.fallback import best_scores, recency_strengths
from serving.recommendations.knowledge import Known, has_list
from serving.releases import ServedRelease

FOLDED_ITEMS = 60
KEPT_FOLD_INS = 2_000
# A larger matrix is multiplied on a thread.
INLINE_FOLD_IN_CELLS = 2_000_000


class FoldIns:
    """Folds histories in; the latest ones are remembered."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, tuple[str, ...]], list[tuple[str, float]]] = OrderedDict()

    async def find(self, known: Known, release: ServedRelease) -> list[tuple[str, float]] | None:
        """The model's items for the history of somebody without a stored list, best score 1."""
        if has_list(known.row) or (known.live is None and known.recent is None):
            return None
        factors = release.release.factors
        history = [item_id for item_id, _, _ in (known.live.recent if known.live is not None else ())]
        history += (known.recent or {}).get("recent_items") or ()
        items = tuple(dict.fromkeys(item for item in history if item in factors.position))[:FOLDED_ITEMS]
        if not items:
            return None
        key = (release.release_id, items)
        found = self._kept.get(key)
        if found is None:
            if factors.vectors.size > INLINE_FOLD_IN_CELLS:
                found = await asyncio.to_thread(fold_in, items, release)
            else:
                found = fold_in(items, release)
            self._kept[key] = found
            if len(self._kept) > KEPT_FOLD_INS:
                self._kept.popitem(last=False)
        return found


def fold_in(items: Sequence[str], release: ServedRelease) -> list[tuple[str, float]]:
    """The model's best items for a history, latest first, each with its score over the best one."""
    factors = release.release.factors
    positions = [factors.position[item] for item in items]
    user = factors.fold_in(positions, recency_strengths(len(items)))
    scores = factors.scores(user[np.newaxis])[0]
    best = best_scores(factors.item_ids, scores, FOLDED_ITEMS)
    top = best[0][1] if best else 1.0
    return [(item_id, round(score / top, 5)) for item_id, score in best]
