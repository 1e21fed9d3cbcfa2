"""What was served and done since the tables were published, from the operational store."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from serving.bundle_results import BUNDLE_EVENTS, BundleAct, results_by_type
from serving.store import analytics as store

Figures = dict[str, Any]

DEFINITIONS = {
    "since": "the end of the published tables; what came later is only here",
    "answers": f"the latest answers since, at most {store.MOST_DECISIONS}; `is_complete` says whether all;"
    " the goods of messages that were sent come with the tables",
    "items_shown": "places in those answers",
    "click_through_rate": "share of places whose item was clicked with the answer's recommendation_id",
    "conversion_rate": "share of places whose item was bought with the answer's recommendation_id",
    "revenue": "quantity times price of those purchases",
    "personalized_share": "share of the answers that used what is known of the visitor, of those that say",
    "rungs": "live, batch, segment or popular: what the answers could rest on",
    "activities_last_hour": "events received in the last hour, by the clock",
    "activities_last_day": "events received in the last 24 hours, by the clock",
}


def served_figures(connection: sa.Connection, since: int) -> Figures:
    """How the latest answers from an instant on did, by kind and by algorithm."""
    served = store.latest_served(connection, since)
    bought = [event_id for each in served for _, status, event_id in each.outcomes if status == "converted"]
    rungs = Counter(str(each.output.get("rung")) for each in served if each.output.get("rung"))
    told = [each for each in served if each.output.keys() & {"personalized", "rung"}]
    return {
        **_counted(served),
        "revenue": store.amounts(connection, bought),
        "is_complete": len(served) < store.MOST_DECISIONS,
        "personalized_share": sum(map(_is_personal, told)) / len(told) if told else None,
        "rungs": dict(rungs),
        "by_kind": [{"kind": kind, **_counted(each)} for kind, each in _groups(served).items()],
        "by_algorithm": _by_algorithm(served),
    }


def bundle_figures(connection: sa.Connection, since: int) -> list[Figures]:
    """How the latest bundles from an instant on did, beside what was expected of them, by type."""
    served = store.latest_served(connection, since, "bundles")
    acts = [BundleAct(*each) for each in store.named_bundles(connection, since, BUNDLE_EVENTS)]
    return results_by_type(served, acts)


def _is_personal(each: store.Served) -> bool:
    """Whether an answer rested on what is known of the visitor; older kinds say so by their rung alone."""
    return bool(each.output.get("personalized", each.output.get("rung") in ("live", "batch")))


def _items(each: store.Served) -> list[Mapping[str, Any]]:
    items = each.output.get("items")
    return items if isinstance(items, list) else []


def _groups(served: Iterable[store.Served]) -> dict[str, list[store.Served]]:
    found: dict[str, list[store.Served]] = {}
    for each in served:
        found.setdefault(each.kind, []).append(each)
    return dict(sorted(found.items()))


def _counted(served: list[store.Served]) -> Figures:
    """Figuress, places, and the shares of them that were clicked and bought."""
    shown = sum(len(_items(each)) for each in served)
    clicked = {
        (each.decision_id, item)
        for each in served
        for item, status, _ in each.outcomes
        if status == "clicked"
    }
    bought = {
        (each.decision_id, item)
        for each in served
        for item, status, _ in each.outcomes
        if status == "converted"
    }
    return {
        "answers": len(served),
        "items_shown": shown,
        "clicks": len(clicked),
        "conversions": len(bought),
        "click_through_rate": len(clicked) / shown if shown else None,
        "conversion_rate": len(bought) / shown if shown else None,
    }


def _by_algorithm(served: Iterable[store.Served]) -> list[Figures]:
    counts: dict[str, Counter[str]] = {}
    for each in served:
        came = {(item, status) for item, status, _ in each.outcomes}
        for item in _items(each):
            count = counts.setdefault(str(item.get("algorithm")), Counter())
            count["shown"] += 1
            count["clicked"] += (item.get("item_id"), "clicked") in came
            count["bought"] += (item.get("item_id"), "converted") in came
    return [
        {
            "algorithm": name,
            "items_shown": count["shown"],
            "clicks": count["clicked"],
            "conversions": count["bought"],
            "click_through_rate": count["clicked"] / count["shown"],
            "conversion_rate": count["bought"] / count["shown"],
        }
        for name, count in sorted(counts.items(), key=lambda each: -each[1]["shown"])
    ]
