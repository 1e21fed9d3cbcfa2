"""The inputs of a decision, from the ask and what is known (see `serving.decisions.receipt`).

They say too which rung of the ladder the answer rests on:

    live     the visitor acted since the batch: what they touched joins the stored list
    batch    a stored list, or for a newcomer of the batch the fold-in of what they touched in it
    segment  no list and no touched item: what their value segment, or their categories, buy
    popular  nothing is known, nothing can be read, or nothing personal is allowed
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from serving.decisions.candidates import MOST_TOUCHED, touch_strengths
from serving.decisions.catalogue import CatalogueIndex
from serving.decisions.exploration import TAIL
from serving.decisions.rules import Effect
from serving.features import Row
from serving.recommendations.ask import RecommendAsk, page_category, picks_of, weights_of
from serving.recommendations.knowledge import Known, LiveVisitor
from serving.values import instant

LIVE, BATCH, SEGMENT, POPULAR_RUNG = "live", "batch", "segment", "popular"
# How much of the stored list a decision looks at: what fits, what rules may take away, and the tail.
SPARE = 10
# Inputs of a decision for a page, or by other weights: no answer to the plain question.
ONLY_FOR_PAGES = frozenset({"slots", "page", "current", "page_category", "weights"})


def add_page(inputs: dict[str, Any], ask: RecommendAsk, index: CatalogueIndex) -> None:
    """Add the page that the ask is for."""
    if ask.slots:
        inputs["slots"] = dict(ask.slots)
    if ask.page is not None:
        inputs["page"] = ask.page
    if ask.current_item is not None:
        inputs["current"] = ask.current_item
    category = page_category(ask, index)
    if category is not None:
        inputs["page_category"] = category


def add_known(
    inputs: dict[str, Any],
    ask: RecommendAsk,
    known: Known,
    index: CatalogueIndex,
    effect: Effect,
    now: float,
) -> dict[str, float]:
    """Add what is known of the visitor; returns the ages of the features in seconds."""
    ages: dict[str, float] = {}
    if known.arms:
        inputs["arms"] = dict(known.arms)
    if known.refusal is not None:
        return ages
    row, live = known.row, known.live
    weights = weights_of(ask, known.values)
    if weights is not None:
        inputs["weights"] = weights
    if known.segment is not None:
        inputs["segment"] = known.segment
        inputs["rung"] = SEGMENT
    if row is not None and row["item_ids"]:
        inputs["stored"] = stored_list(row, max(ask.limit, picks_of(ask)) + TAIL + SPARE)
        inputs["rung"] = BATCH
        ages["candidates"] = _age(row["feature_at"], now)
    if known.recent is not None:
        ages["behaviour"] = _age(known.recent.get("feature_at"), now)
        _add_recent(inputs, known.recent, bool(known.folded), index)
    if live is not None and (live.recent or live.categories):
        _add_live(inputs, live, index)
        ages["live"] = round(max(0.0, now - live.last_event_at / 1e6), 3)
    if known.folded:
        inputs["fold_in"] = known.folded
    _add_seen(inputs, ask, effect, row, index)
    if ages:
        inputs["ages"] = ages
    return ages


def stored_list(row: Row, count: int) -> dict[str, Any]:
    """The first `count` items of the batch's list, in the form of a receipt."""
    names: dict[str, int] = {}
    kinds = [names.setdefault(name, len(names)) for name in row["algorithms"][:count]]
    return {
        "items": list(row["item_ids"][:count]),
        "scores": list(row["scores"][:count]),
        "kinds": kinds,
        "algorithms": list(names),
        "release": row["release_id"],
    }


def _add_recent(inputs: dict[str, Any], recent: Row, is_folded: bool, index: CatalogueIndex) -> None:
    """What a newcomer of the batch touched in it."""
    recent_items = recent.get("recent_items") or ()
    inputs["categories"] = list(recent.get("recent_categories") or ())
    if is_folded:
        inputs["rung"] = BATCH
    elif recent_items or inputs["categories"]:
        inputs["rung"] = SEGMENT
    touched = touch_strengths([(item, "product_view", 0) for item in recent_items], None, index.position)
    if touched:
        inputs["touched"] = touched


def _add_live(inputs: dict[str, Any], live: LiveVisitor, index: CatalogueIndex) -> None:
    touched = touch_strengths(live.recent, live.last_event_at, index.position)
    if not touched and not live.categories:
        return
    earlier = inputs.get("touched")
    if earlier:
        present = {each[0] for each in touched}
        touched += [each for each in earlier if each[0] not in present][: MOST_TOUCHED - len(touched)]
    inputs["rung"] = LIVE
    inputs["touched"] = touched
    inputs["categories"] = list(live.categories)
    started_at = live.session_started_at or 0
    views: dict[str, int] = {}
    bought: dict[str, None] = {}
    stepped: set[str] = set()
    for item_id, event_type, event_at in live.recent:
        if event_type == "purchase":
            bought[item_id] = None
        if event_at < started_at:
            continue
        if event_type == "product_view":
            views[item_id] = views.get(item_id, 0) + 1
        else:
            stepped.add(item_id)
    inputs["session"] = {
        "categories": list(live.categories),
        "views": [each for each in views.items() if each[0] not in stepped and each[1] > 1],
    }
    if bought:
        inputs["bought_now"] = list(bought)


def _add_seen(
    inputs: dict[str, Any], ask: RecommendAsk, effect: Effect, row: Row | None, index: CatalogueIndex
) -> None:
    """What was bought, where a rule, the request or other weights ask for it."""
    seen = list((row or {}).get("seen") or ())
    if ask.exclude_seen or effect.exclude_seen:
        inputs["exclude_seen"] = True
        inputs["seen"] = seen or [item for item, _, _ in inputs.get("touched", ())]
    if effect.brand_strength > 0:
        brands = _brand_shares([*seen, *(item for item, _, _ in inputs.get("touched", ()))], index)
        if brands:
            inputs["brands"] = brands
    if effect.calibration > 0:
        mix = _category_mix([*seen, *(item for item, _, _ in inputs.get("touched", ()))], index)
        if mix:
            inputs["mix"] = mix
    if "weights" in inputs and "touched" not in inputs and seen:
        # Other weights than the list's own need something to weigh: what was bought last.
        touched = touch_strengths([(item, "product_view", 0) for item in seen], None, index.position)
        if touched:
            inputs["touched"] = touched


def _brand_shares(items: Iterable[str], index: CatalogueIndex) -> dict[str, float]:
    counts: dict[str, int] = {}
    for item_id in items:
        position = index.position.get(item_id)
        name = None if position is None else index.brand[position]
        if name is not None:
            counts[name] = counts.get(name, 0) + 1
    most = max(counts.values(), default=1)
    return {name: round(count / most, 4) for name, count in counts.items()}


def _category_mix(items: Iterable[str], index: CatalogueIndex) -> dict[str, float]:
    """Shares of the categories of these items, of those that have one."""
    names = (index.category[index.position[item]] for item in items if item in index.position)
    counts = Counter(name for name in names if name is not None)
    total = counts.total()
    return {name: round(count / total, 4) for name, count in sorted(counts.items())}


def _age(at: Any, now: float) -> float:
    found = instant(at)
    return 0.0 if found is None else round(max(0.0, now - found.timestamp()), 3)
