"""Why the champion recommends what it does to one customer, by the data of now: `attune explain`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq

from feature_repo.layout import Home
from orchestration.data import Data
from orchestration.errors import NothingToDo, WrongRequest
from orchestration.resources import Models
from orchestration.training_runs import stored_recommender
from training.explanations import Explanation, explain
from training.hybrid import HybridScorer
from training.identifiers import UNKNOWN
from training.top_items import top_items
from training.two_stage import Scope

KIND = "collaborative"
REASONS = 3
"""Items of the history for each source, and summands of the score that orders, that a line shows."""


@dataclass(frozen=True)
class Explained:
    """The customer's list, best first, by a version of the model; `titles` of every item that is named."""

    customer_id: str
    version: str
    items: tuple[Explanation, ...]
    titles: Mapping[str, str | None]

    def summary(self) -> str:
        """For people: a paragraph for each item."""
        head = f"{self.customer_id} by {KIND} version {self.version}, with the data of now"
        paragraphs = [
            f"{place}. {self._named(one.item_id)}\n{self._reasons(one)}"
            for place, one in enumerate(self.items, 1)
        ]
        return "\n".join([head, *paragraphs])

    def _reasons(self, one: Explanation) -> str:
        sources = ", ".join(f"{name} (place {rank})" for name, rank in sorted_by_place(one.sources))
        lines = [f"proposed by {sources}"]
        for source, summands in one.history.items():
            named = ", ".join(
                f"{value:+.3g} {self._named(item)}" for item, value in [*summands.items()][:REASONS]
            )
            lines.append(f"{source}: {named}")
        if one.features:
            features = [*one.features.items()][:REASONS]
            said = ", ".join(f"{value:+.3g} {name}" for name, value in features)
            lines.append(f"order: {said}; in all {one.margin:.3g}")
        return "\n".join(f"   {line}" for line in lines)

    def _named(self, item_id: str) -> str:
        title = self.titles.get(item_id)
        return f"{item_id} {title}" if title else item_id


def explain_customer(home: Home, models: Models, customer_id: str, limit: int, is_new: bool) -> Explained:
    """The first `limit` items with their reasons; with `is_new`, of those that the customer never bought.

    Raises WrongRequest for a customer who did nothing yet, NothingToDo without a champion in two stages.
    """
    data, registry = Data.published(home), models.open()
    champion = registry.champion(KIND)
    if champion is None:
        raise NothingToDo("there is no recommender yet; run: attune run.")
    interactions = data.interactions()
    user = int(interactions.users.positions([customer_id])[0])
    if user == UNKNOWN:
        raise WrongRequest(
            f"customer {customer_id!r} did nothing that is landed, so the list is what is popular; "
            "check the id, or land newer events."
        )
    scorer = stored_recommender(registry, champion).scorer(interactions)
    if not isinstance(scorer, HybridScorer):
        raise NothingToDo("the champion has no second stage to explain: its history was too short for one.")
    scores = scorer.scores(np.array([user]))
    bought = interactions.bought[[user]].toarray()[0] > 0
    if is_new:
        scores[:, bought] = -np.inf
    listed = top_items(scores, limit).positions[0]
    listed = listed[listed != UNKNOWN]
    # What is new to the customer is in its place by the order for new items (`training.hybrid`).
    of_new: Scope = "all" if scorer.plan.exclude_taken else "new"
    old = explain(scorer, user, listed[bought[listed]], "all")
    found = {one.item_id: one for one in [*old, *explain(scorer, user, listed[~bought[listed]], of_new)]}
    items = tuple(found[interactions.items.ids[at]] for at in listed)
    return Explained(customer_id, champion.version, items, read_titles(home))


def sorted_by_place(sources: Mapping[str, int]) -> list[tuple[str, int]]:
    """Who put the item highest first."""
    return sorted(sources.items(), key=lambda pair: (pair[1], pair[0]))


def read_titles(home: Home) -> dict[str, str | None]:
    """item_id -> title."""
    table = pq.read_table(home.mart("items"), columns=["item_id", "title"])
    return dict(zip(table["item_id"].to_pylist(), table["title"].to_pylist(), strict=True))
