"""Experiences: a variant for each element of a page, and what became of them."""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from serving.decisions import experience
from serving.errors import InvalidField
from serving.pages.deciding import Desk, register
from serving.pages.offers import EventTracker
from serving.pages.responses import CONVERTED, INTERACTED, SERVED, Responses
from serving.pages.variants import Element, Variant
from serving.pages.visitors import Visitor
from serving.people.permissions import Permissions, Signals

logger = logging.getLogger(__name__)

KIND = "experience"
SOURCE = "experience"

register(KIND, experience.decide)

Assigned = Callable[[str, Permissions, Mapping[str, Any]], Mapping[str, Any]]
"""(visitor id, permissions) -> parameters that experiments set, such as `experience.hero_banner`; whoever is
counted as exposed is the callable's business."""


def nothing_assigned(_: str, __: Permissions, ___: Mapping[str, Any]) -> Mapping[str, Any]:
    """Where no experiment runs."""
    return {}


class Experiences:
    """Experiences of one process."""

    def __init__(
        self,
        desk: Desk,
        responses: Responses,
        tracker: EventTracker,
        elements: Mapping[str, Element],
        threshold: float,
        assigned: Assigned = nothing_assigned,
    ) -> None:
        self._desk = desk
        self._responses = responses
        self._tracker = tracker
        self._elements = elements
        self._threshold = threshold
        self._assigned = assigned
        self._logging: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Wait until what was served is logged."""
        await asyncio.gather(*self._logging, return_exceptions=True)

    async def serve(
        self,
        customer_id: str,
        signals: Signals,
        page_type: str,
        context: Mapping[str, Any],
        goals: Mapping[str, float],
        elements: Sequence[str] | None,
    ) -> dict[str, Any]:
        """A variant for each element; the defaults for somebody who may not be personalized."""
        names = list(dict.fromkeys(elements)) if elements else list(self._elements)
        for name in names:
            if name not in self._elements:
                allowed = f"use {', '.join(self._elements)}"
                raise InvalidField("elements_to_personalize", name, allowed)
        visitor = await self._desk.visitors.read(customer_id, signals)
        inputs = {
            "page_type": page_type,
            "segment": visitor.value_segment,
            "threshold": self._threshold,
            "goals": dict(goals),
            "elements": self._candidates(names, visitor, page_type, context),
        }
        output, experience_id = self._desk.decide(KIND, customer_id, inputs, experience.decide)
        self._log_served(experience_id, visitor, page_type, output, signals)
        return {
            "experience_id": experience_id,
            "customer_id": customer_id,
            "page_type": page_type,
            "segment": visitor.value_segment,
            "confidence_threshold": self._threshold,
            **output,
            "elements": [self._shown(element, visitor) for element in output["elements"]],
            **self._desk.provenance(KIND, visitor, experience_id),
        }

    async def performance(
        self,
        experience_id: str,
        customer_id: str,
        interactions: Sequence[Mapping[str, Any]],
        conversions: Sequence[Mapping[str, Any]],
        signals: Signals,
    ) -> dict[str, Any]:
        """Record interactions and conversions of an experience; what is sent again counts once."""
        rows = [
            _row(experience_id, customer_id, event_type, number, given)
            for event_type, events in ((INTERACTED, interactions), (CONVERTED, conversions))
            for number, given in enumerate(events)
        ]
        outcomes = await self._tracker.track(rows, signals, SOURCE) if rows else []
        counts: dict[str, int] = {}
        for outcome in outcomes:
            counts[outcome.status] = counts.get(outcome.status, 0) + 1
        reasons = sorted({outcome.detail or outcome.reason for outcome in outcomes if outcome.reason})
        return {
            "experience_id": experience_id,
            "customer_id": customer_id,
            "tracked": all(outcome.status in ("accepted", "duplicate") for outcome in outcomes),
            "accepted": counts.get("accepted", 0),
            "duplicates": counts.get("duplicate", 0),
            "refused": counts.get("refused", 0),
            "not_tracked": counts.get("not_tracked", 0),
            "reason": reasons[0] if reasons else None,
            "event_ids": [outcome.event_id for outcome in outcomes],
        }

    def _candidates(
        self, names: Sequence[str], visitor: Visitor, page: str, context: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """Each element with the variants that suit, what an experiment assigned, and the evidence."""
        device = context.get("device") if isinstance(context.get("device"), str) else None
        asked = {**context, "page": page, "device_type": device}
        assigned = (
            self._assigned(visitor.visitor_id, visitor.permissions, asked) if visitor.personalized else {}
        )
        known = _known(visitor)
        found = []
        for name in names:
            element = self._elements[name]
            eligible = [
                variant.name
                for variant in element.variants.values()
                if variant.suits(page, visitor.value_segment, device, known)
            ]
            if not visitor.personalized:
                eligible = [element.default]
            wanted = assigned.get(f"experience.{name}")
            evidence = self._responses.counts.of_element(name, eligible, visitor.value_segment)
            found.append(
                {
                    "name": name,
                    "default": element.default,
                    "eligible": eligible,
                    "assigned": wanted if wanted in eligible else None,
                    "evidence": evidence,
                }
            )
        return found

    def _shown(self, element: Mapping[str, Any], visitor: Visitor) -> dict[str, Any]:
        variant = self._elements[element["name"]].variants[element["variant"]]
        content = self._content(variant, visitor)
        return {**element, "parameters": dict(variant.parameters), "content": content}

    def _content(self, variant: Variant, visitor: Visitor) -> dict[str, Any] | None:
        """What fills a variant, where its parameters name a source."""
        source = variant.parameters.get("source")
        if source == "top_category" and visitor.affinity:
            return {"category": next(iter(visitor.affinity))}
        if source == "recently_viewed" and visitor.recent_items:
            return self._desk.shelf.described(visitor.recent_items[:1])[0]
        if variant.parameters.get("order") == "affinity":
            return {"categories": list(visitor.affinity)}
        return None

    def _log_served(
        self,
        experience_id: str,
        visitor: Visitor,
        page_type: str,
        output: Mapping[str, Any],
        signals: Signals,
    ) -> None:
        """Log the experience as an event; the answer does not wait for it."""
        context = {
            "experience_id": experience_id,
            "page_type": page_type,
            "segment": visitor.value_segment,
            "elements": {element["name"]: element["variant"] for element in output["elements"]},
            "confidence_score": output["confidence_score"],
            "expected_lift": {element["name"]: element["expected_lift"] for element in output["elements"]},
        }
        row = {
            "event_id": f"{SERVED}-{experience_id}",
            "event_type": SERVED,
            "user_id": visitor.visitor_id,
            "recommendation_id": experience_id,
            "context": {name: value for name, value in context.items() if value is not None},
        }
        task = asyncio.get_running_loop().create_task(self._log(row, signals))
        self._logging.add(task)
        task.add_done_callback(self._logging.discard)

    async def _log(self, row: Mapping[str, Any], signals: Signals) -> None:
        try:
            await self._tracker.track([row], signals, SOURCE)
        except Exception as error:  # noqa: BLE001 - nobody waits for this: it is named in the log and over
            logger.warning("a served experience was not logged", extra={"problem": type(error).__name__})


def _known(visitor: Visitor) -> frozenset[str]:
    """What variants may require."""
    if not visitor.personalized:
        return frozenset()
    known = {"offer_consent"}
    if visitor.affinity:
        known.add("affinity")
    if visitor.recent_items:
        known.add("history")
    return frozenset(known)


def _row(
    experience_id: str, customer_id: str, event_type: str, number: int, given: Mapping[str, Any]
) -> dict[str, Any]:
    """One outcome as an event. Its id comes from what it says, so that the same call counts once."""
    said = orjson.dumps([experience_id, customer_id, event_type, number, given], option=orjson.OPT_SORT_KEYS)
    own_id = f"{event_type}-{hashlib.sha256(said).hexdigest()[:32]}"
    details = {
        name: value for name, value in given.items() if name not in ("event_id", "item_id", "timestamp")
    }
    row: dict[str, Any] = {
        "event_id": given.get("event_id") or own_id,
        "event_type": event_type,
        "user_id": customer_id,
        "recommendation_id": experience_id,
        "context": {**details, "experience_id": experience_id},
    }
    for name in ("item_id", "timestamp"):
        if given.get(name) is not None:
            row[name] = given[name]
    return row
