"""Scoring only whom something changed, with a model as it was fitted some days ago.

Whatever is learned of items (factors, neighbours, popularity) stays as it was on the day of the fit. What
belongs to a user comes from all that they did until now. A user's lists are as of the day of the fit, or of
the last day on which the user did something if that is later; so who did nothing since keeps exactly the
lists that scoring everybody again would give. `fingerprints` tell who did.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from pandas.util import hash_array

from training.hybrid import interactions_before
from training.identifiers import UNKNOWN, IdMap, Positions
from training.interactions import Interactions

Marks = npt.NDArray[np.int64]
_FACTORS = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9)


def fingerprints(interactions: Interactions) -> Marks:
    """One number for each user that any change of their rows changes, and nothing else.

    It speaks of ids and days, not of positions or ages: equal rows give equal numbers on another day and in
    another order.
    """
    day = interactions.cutoff.toordinal() - interactions.age_days.astype(np.int64)
    mixed = hash_array(np.array(interactions.items.ids, dtype=object))[interactions.item]
    columns = (
        day.astype(np.uint64),
        interactions.purchase_count.view(np.uint32).astype(np.uint64),
        interactions.strength.view(np.uint32).astype(np.uint64),
    )
    for factor, values in zip(_FACTORS, columns, strict=True):
        mixed = (mixed ^ (mixed >> np.uint64(29)) ^ values) * np.uint64(factor)
    total = np.zeros(len(interactions.users), dtype=np.uint64)
    np.add.at(total, interactions.user, mixed ^ (mixed >> np.uint64(32)))
    return total.view(np.int64)


def known_before(interactions: Interactions, days: int) -> Interactions:
    """What reading the same data `days` days earlier would have given: users and items of that day only."""
    part = interactions_before(interactions, days)
    users, user = _compact(part.users, part.user)
    items, item = _compact(part.items, part.item)
    return replace(part, users=users, items=items, user=user, item=item)


def of_users(interactions: Interactions, chosen: Positions, days: int) -> Interactions:
    """The rows of the chosen users, of all items; the model was fitted `days` days before the cut-off.

    Ages count to the user's last day, or to the day of the fit if that is later.
    """
    is_chosen = np.zeros(len(interactions.users), dtype=bool)
    is_chosen[chosen] = True
    rows = is_chosen[interactions.user]
    since = np.full(len(interactions.users), days, dtype=np.float32)
    np.minimum.at(since, interactions.user, interactions.age_days)
    users, user = _compact(interactions.users, interactions.user[rows])
    part = _rows(interactions, rows)
    return replace(part, users=users, user=user, age_days=part.age_days - since[part.user])


def of_items(interactions: Interactions, items: IdMap) -> Interactions:
    """The rows with items that the model knows, at the model's positions; the users stay."""
    positions = items.positions(interactions.items.ids)
    rows = positions[interactions.item] != UNKNOWN
    item = positions[interactions.item[rows]].astype(np.int32)
    return replace(_rows(interactions, rows), items=items, item=item)


def _rows(interactions: Interactions, chosen: npt.NDArray[np.bool_]) -> Interactions:
    return replace(
        interactions,
        user=interactions.user[chosen],
        item=interactions.item[chosen],
        age_days=interactions.age_days[chosen],
        purchase_count=interactions.purchase_count[chosen],
        strength=interactions.strength[chosen],
    )


def _compact(ids: IdMap, positions: npt.NDArray[np.int32]) -> tuple[IdMap, npt.NDArray[np.int32]]:
    """The ids that occur, and the position of each occurrence among them."""
    occurs = np.zeros(len(ids), dtype=bool)
    occurs[positions] = True
    number = np.cumsum(occurs) - 1
    return IdMap(tuple(ids.ids[at] for at in np.flatnonzero(occurs))), number[positions].astype(np.int32)
