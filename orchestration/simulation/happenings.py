"""What happened, as columns of small integers: the form in which blocks of events are built and joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from orchestration.simulation.calendar import Floats, Ints
from orchestration.simulation.catalogue import Bools

KINDS = (
    "signup", "login", "logout", "page_view", "search", "category_browse", "filter_applied", "product_view",
    "wishlist_add", "add_to_cart", "remove_from_cart", "cart_view", "checkout_start", "purchase",
    "cart_abandonment", "return", "rating", "review", "share", "email_sent", "email_open", "email_click",
    "push_notification", "push_open", "content_view", "like", "campaign_holdout",
)  # fmt: skip
KIND = {name: code for code, name in enumerate(KINDS)}
CHANNEL_NAMES = ("web", "mobile_web", "mobile_app", "email", "push")
NOBODY = -1
NOTHING = -1


@dataclass(frozen=True)
class Happenings:
    """One entry per event in every array; -1 (or NaN) for none, ``at`` in days from the start.

    ``user`` is -1 for anonymous visitors, ``query`` the leaf that was searched for, ``campaign`` the day
    on which its messages went out, ``stars`` a rating from 1 to 5, ``content`` the piece that was read.
    """

    kind: Ints
    user: Ints
    item: Ints
    order: Ints
    session: Ints
    channel: Ints
    device: Ints
    query: Ints
    campaign: Ints
    stars: Ints
    content: Ints
    at: Floats
    quantity: Floats
    price: Floats

    @property
    def count(self) -> int:
        return len(self.at)

    def select(self, rows: Ints | Bools) -> Happenings:
        return Happenings(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


def happenings(kind: str, at: Floats, user: Ints, **columns: Ints | Floats | int) -> Happenings:
    """Events of one kind; columns that are not given are empty, a single number holds for all."""
    count = len(at)
    values = {
        field.name: np.full(count, np.nan if field.name in ("quantity", "price") else NOTHING)
        for field in fields(Happenings)
    }
    values |= {name: np.broadcast_to(np.asarray(value), (count,)) for name, value in columns.items()}
    values |= {"kind": np.full(count, KIND[kind]), "at": at, "user": user}
    return Happenings(**values)


def joined(parts: Sequence[Happenings]) -> Happenings:
    return Happenings(
        **{
            field.name: np.concatenate([getattr(part, field.name) for part in parts])
            for field in fields(Happenings)
        }
    )
