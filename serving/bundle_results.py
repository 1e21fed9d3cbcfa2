"""What bundles brought, beside what was expected of them when they were served: by type, with intervals."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from serving.store.analytics import Served

VIEW, CLICK, ADD = "bundle_view", "bundle_click", "bundle_add"
BUNDLE_EVENTS = (VIEW, CLICK, ADD)
DEFINITIONS = {
    "by_type": "bundles of the latest answers by type. Expected, as stored with each when it was served, over"
    " those viewed: the share of the anchor's buyers who take the rest, and that share times the bundle's"
    " profit. Realized: bundle_view, bundle_click and bundle_add events that name the bundle in"
    " context.bundle_id, each once; bought is all its items with the answer's decision_id as the"
    " recommendation_id; attach_rate is adds over views, with its 95 % Wilson interval",
}


class BundleAct(NamedTuple):
    """One bundle event of the log: `bundle_id` is `<decision_id>-<number>`."""

    event_type: str
    bundle_id: str


def results_by_type(served: Iterable[Served], acts: Iterable[BundleAct]) -> list[dict[str, Any]]:
    """One row per type of the served bundles."""
    seen = set(acts)
    rows: dict[str, list[tuple[Mapping[str, Any], Counter[str]]]] = {}
    for answer in served:
        bought = {item for item, status, _ in answer.outcomes if status == "converted"}
        for number, bundle in enumerate(answer.output.get("bundles", ()), 1):
            bundle_id = f"{answer.decision_id}-{number}"
            came = Counter({name: int(BundleAct(name, bundle_id) in seen) for name in BUNDLE_EVENTS})
            items = bundle.get("items") or ()
            came["bought"] = int(bool(items) and bought.issuperset(items))
            rows.setdefault(str(bundle.get("bundle_type")), []).append((bundle, came))
    return [_row(kind, each) for kind, each in sorted(rows.items())]


def wilson(count: int, total: int, z: float = 1.96) -> tuple[float, float] | None:
    """The interval of a share (Wilson 1927); None without any trial."""
    if not total:
        return None
    share, extra = count / total, z * z / total
    middle = (share + extra / 2) / (1 + extra)
    half = z / (1 + extra) * math.sqrt(share * (1 - share) / total + extra / total / 4)
    return max(0.0, middle - half), min(1.0, middle + half)


def _row(kind: str, bundles: Sequence[tuple[Mapping[str, Any], Counter[str]]]) -> dict[str, Any]:
    came = Counter[str]()
    for _, each in bundles:
        came.update(each)
    # An add without a view tells nothing of the share of views: a shop may report adds alone.
    adds_of_views = sum(each[ADD] for _, each in bundles if each[VIEW])
    viewed = [(bundle, each) for bundle, each in bundles if each[VIEW]]
    interval = wilson(adds_of_views, came[VIEW])
    gains = [
        (bundle["unit_profit"], bundle["expected_attach"], each)
        for bundle, each in bundles
        if "unit_profit" in bundle
    ]
    return {
        "bundle_type": kind,
        "served": len(bundles),
        "mean_price": _mean(bundle.get("price") for bundle, _ in bundles),
        "mean_discount": _mean(bundle.get("discount") for bundle, _ in bundles),
        "views": came[VIEW],
        "clicks": came[CLICK],
        "adds": came[ADD],
        "bought": came["bought"],
        "expected_attach": _mean(bundle.get("expected_attach") for bundle, _ in viewed or bundles),
        "attach_rate": adds_of_views / came[VIEW] if came[VIEW] else None,
        "attach_interval": list(interval) if interval else None,
        "expected_profit": sum(profit * attach for profit, attach, each in gains if each[VIEW]),
        "realized_profit": sum(profit * each["bought"] for profit, _, each in gains),
    }


def _mean(values: Iterable[Any]) -> float | None:
    known = [float(value) for value in values if isinstance(value, int | float)]
    return round(sum(known) / len(known), 6) if known else None
