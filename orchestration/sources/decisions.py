"""What the service decided, as events of the log: an impression for each item or offer that was shown."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import orjson

OF_ITEM = ("algorithm", "propensity", "slot")


def impressions(decision: Mapping[str, Any], anonymous: Collection[str]) -> Iterator[dict[str, Any]]:
    """One event for each item or offer of a decision, as a row of the log; another decision has none.

    An offer says what response was promised of it. `anonymous`: visitors who are known by a device only.
    """
    output = orjson.loads(decision["output"])
    for number, item in enumerate(output.get("items") or (), start=1):
        if isinstance(item, dict) and item.get("item_id"):
            context = {"position": item.get("position", number)}
            context |= {name: item[name] for name in OF_ITEM if item.get(name) is not None}
            yield _event(decision, anonymous, "recommendation_served", number, item["item_id"], context)
    for number, offer in enumerate(output.get("offers") or (), start=1):
        context = {name: offer.get(name) for name in ("offer_type", "expected_response_rate")}
        context |= {"offer_id": f"{decision['decision_id']}-{number}", "position": number}
        yield _event(decision, anonymous, "offer_served", number, offer.get("item_id"), context)


def _event(
    decision: Mapping[str, Any],
    anonymous: Collection[str],
    event_type: str,
    number: int,
    item_id: str | None,
    context: Mapping[str, Any],
) -> dict[str, Any]:
    visitor = decision["visitor_id"]
    return {
        "event_id": f"{decision['decision_id']}:{number}",
        "event_type": event_type,
        "anonymous_id" if visitor in anonymous else "user_id": visitor,
        "event_at": decision["at"],
        "received_at": decision["at"],
        "body": {
            "item_id": item_id,
            "recommendation_id": decision["decision_id"],
            "channel": "api",
            "context": {**context, "kind": decision["kind"], "release": decision["release"]},
        },
    }
