"""Search results in the order that suits the visitor. The search itself is the shop's."""

from collections.abc import Sequence
from typing import Any

from serving.decisions import search
from serving.flags import Flags
from serving.pages.deciding import Desk, register
from serving.people.permissions import Signals

KIND = "search"
FLAG = "personalized_search"

register(KIND, search.decide)


class Searches:
    """Re-ranking for one process."""

    def __init__(self, desk: Desk, flags: Flags) -> None:
        self._desk = desk
        self._flags = flags

    async def rerank(
        self,
        user_id: str,
        signals: Signals,
        query: str,
        item_ids: Sequence[str],
        scores: Sequence[float] | None,
    ) -> dict[str, Any]:
        """The same ids, each near its place; as given where nothing personal is known or allowed."""
        desk, is_on = self._desk, self._flags.enabled(FLAG)
        visitor = await desk.visitors.read(user_id, signals)
        if scores is not None:
            best_first = sorted(zip(scores, item_ids, strict=True), key=lambda pair: -pair[0])
            scores, item_ids = [pair[0] for pair in best_first], [pair[1] for pair in best_first]
        shelf = desk.shelf
        if is_on and visitor.personalized:
            collaborative = shelf.affinities(visitor.history, item_ids)
            categories = [shelf.goods(item_id).category for item_id in item_ids]
            personal = search.personal_scores(collaborative, categories, visitor.affinity)
        else:
            personal = [0.0] * len(item_ids)
        inputs = {
            "query": query,
            "item_ids": list(item_ids),
            "relevance": None if scores is None else list(scores),
            "personal": personal,
            "reach": search.REACH,
        }
        output, decision_id = desk.decide(KIND, user_id, inputs, search.decide)
        is_personal = any(personal)
        reason = self._flags.disabled_by(FLAG) or (
            "nothing_known" if visitor.personalized and not is_personal else None
        )
        return {
            "user_id": user_id,
            "query": query,
            "item_ids": [result["item_id"] for result in output["results"]],
            **output,
            **desk.provenance(KIND, visitor, decision_id, reason=reason, personalized=is_personal),
        }
