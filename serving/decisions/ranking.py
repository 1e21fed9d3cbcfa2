"""From stored candidates to the list that is shown."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ranked:
    """One item of an answer. Scores compare within one algorithm only."""

    item_id: str
    score: float
    algorithm: str


def take_candidates(
    item_ids: Sequence[str],
    scores: Sequence[float],
    algorithms: Sequence[str],
    limit: int,
    excluded: Collection[str] = (),
) -> list[Ranked]:
    """The first `limit` candidates, in stored order, without the excluded ones."""
    if not excluded:
        top = zip(item_ids[:limit], scores, algorithms, strict=False)
        return [Ranked(*each) for each in top]
    chosen: list[Ranked] = []
    for item_id, score, algorithm in zip(item_ids, scores, algorithms, strict=True):
        if item_id not in excluded:
            chosen.append(Ranked(item_id, score, algorithm))
            if len(chosen) == limit:
                break
    return chosen


def fill_up(
    chosen: Sequence[Ranked], more: Iterable[Ranked], limit: int, excluded: Collection[str] = ()
) -> list[Ranked]:
    """At most `limit` items: what was chosen, then more that are neither in it nor excluded."""
    filled = list(chosen[:limit])
    present = {each.item_id for each in filled}
    for each in more:
        if len(filled) >= limit:
            break
        if each.item_id not in present and each.item_id not in excluded:
            present.add(each.item_id)
            filled.append(each)
    return filled
