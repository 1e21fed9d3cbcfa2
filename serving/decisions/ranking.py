"""From what is known of a visitor to the list that is shown: the decision, as one pure function.

    candidates -> scores on one scale -> rules -> the session -> diversity -> exploration -> slots

`decide` reads nothing but its arguments: inputs of JSON values, the catalogue of the release that they name,
and the rules that hold (which the inputs carry too). So a receipt's inputs give its output again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypedDict

from serving.decisions import slots
from serving.decisions.calibration import choose_calibrated
from serving.decisions.candidates import (
    DEFAULT_WEIGHTS,
    FOLD_IN,
    NOBODY,
    POPULAR_IN_CATEGORY,
    POPULAR_IN_SEGMENT,
    SIMILAR,
    TOGETHER,
    TRENDING,
    TRENDING_IN_CATEGORY,
    Candidate,
    Pool,
    Touch,
    blended_pool,
    fill_pool,
    fillers,
    stored_pool,
)
from serving.decisions.catalogue import POPULAR, POPULAR_RECENTLY, CatalogueIndex
from serving.decisions.diversity import by_relevance, choose, tail_of
from serving.decisions.exploration import TAIL, explore
from serving.decisions.live_rerank import rerank
from serving.decisions.rules import Effect

SEEN, CURRENT, BOUGHT_NOW, CAPS = "exclude_seen", "current_item", "bought_in_session", "caps"
PINNED = "pinned"
MOST_REPORTED = 20


class StoredList(TypedDict):
    """The batch's list as far as a decision may look: `kinds` numbers each item's algorithm.

    `release` is the one whose models ranked them.
    """

    items: Sequence[str]
    scores: Sequence[float]
    kinds: Sequence[int]
    algorithms: Sequence[str]
    release: str


class Shown(NamedTuple):
    """One item of the answer. `anchor` is the item that its reason names (NOBODY: none)."""

    position: int
    score: float
    algorithm: str
    anchor: int
    propensity: float = 1.0
    slot: str | None = None


@dataclass(slots=True)
class Outcome:
    """What a decision gives: the items in order, and which items each rule left out."""

    shown: list[Shown]
    removed: dict[str, list[int]] = field(default_factory=dict)

    @property
    def by_slot(self) -> dict[str, list[Shown]]:
        """The items of each slot."""
        grouped: dict[str, list[Shown]] = {}
        for each in self.shown:
            grouped.setdefault(each.slot or "", []).append(each)
        return grouped


def decide(inputs: Mapping[str, Any], index: CatalogueIndex, effect: Effect) -> Outcome:
    """The decision for these inputs; see `serving.decisions.receipt` for what they hold."""
    removed: dict[str, list[int]] = {}
    wanted_slots = inputs.get("slots")
    picks = wanted_slots.get(slots.PERSONALIZED_PICKS, 0) if wanted_slots else inputs["limit"]
    current = _position(inputs.get("current"), index)
    used: set[int] = set() if current is None else {current}
    shown: list[Shown] = []
    if wanted_slots:
        shown, used = _fill_slots(inputs, wanted_slots, index, effect, current, used)
    if picks:
        pool = personal_pool(inputs, index, effect, removed)
        shown += _pick(inputs, pool, picks, used, index, effect, removed)
    return Outcome(shown, removed)


def personal_pool(
    inputs: Mapping[str, Any], index: CatalogueIndex, effect: Effect, removed: dict[str, list[int]]
) -> Pool:
    """Candidates from what is known of the visitor, after the rules, moved by the session."""
    position = index.position
    stored: StoredList | None = inputs.get("stored")
    pool: Pool = {}
    if stored is not None:
        names = stored["algorithms"]
        algorithms = [names[kind] for kind in stored["kinds"]]
        pool = stored_pool(stored["items"], stored["scores"], algorithms, position)
    touched = inputs.get("touched")
    folded = inputs.get("fold_in")
    categories = inputs.get("categories", ())
    if touched or folded or categories:
        touches = [Touch(position[item], near, together) for item, near, together in touched or ()]
        fold_in = {position[item]: score for item, score in folded or () if item in position}
        weights = inputs.get("weights") or DEFAULT_WEIGHTS
        pool = blended_pool(pool, fold_in, touches, categories, index, weights)
    _apply_exclusions(pool, inputs, index, effect, removed)
    _apply_boosts(pool, inputs, index, effect)
    session = inputs.get("session")
    if session is not None:
        views = {position[item]: count for item, count in session["views"] if item in position}
        pool = rerank(pool, session["categories"], views, index)
    return pool


def _apply_exclusions(
    pool: Pool,
    inputs: Mapping[str, Any],
    index: CatalogueIndex,
    effect: Effect,
    removed: dict[str, list[int]],
) -> None:
    blocked, names = effect.blocked, effect.names
    out = [position for position in pool if blocked[position]]
    for position in out:
        removed.setdefault(names[blocked[position] - 1], []).append(position)
        del pool[position]
    for reason, key in ((SEEN, "seen"), (BOUGHT_NOW, "bought_now")):
        if reason == SEEN and not inputs.get("exclude_seen"):
            continue
        for item_id in inputs.get(key, ()):
            position = index.position.get(item_id, NOBODY)
            if position in pool:
                removed.setdefault(reason, []).append(position)
                del pool[position]


def _apply_boosts(pool: Pool, inputs: Mapping[str, Any], index: CatalogueIndex, effect: Effect) -> None:
    boosts, strength = effect.boosts, effect.brand_strength
    shares: Mapping[str, float] = inputs.get("brands", {}) if strength else {}
    if boosts is None and not shares:
        return
    scale = 1.0 / (1.0 + strength) if shares else 1.0
    brand = index.brand
    for position, (score, algorithm, anchor) in pool.items():
        if boosts is not None:
            score *= boosts[position]
        if shares:
            name = brand[position]
            score *= (1.0 + strength * (shares.get(name, 0.0) if name else 0.0)) * scale
        pool[position] = (score, algorithm, anchor)


def _pick(
    inputs: Mapping[str, Any],
    pool: Pool,
    count: int,
    used: set[int],
    index: CatalogueIndex,
    effect: Effect,
    removed: dict[str, list[int]],
) -> list[Shown]:
    """The personal list: filled up, diverse, capped, with pins, explored."""
    kept_out = _never(inputs, index) | used
    for position in kept_out:
        pool.pop(position, None)
    if len(pool) < count + TAIL:
        mask = effect.blocked
        if kept_out:
            open_mask = bytearray(mask)
            for position in kept_out:
                open_mask[position] = 1
            mask = bytes(open_mask)
        categories = inputs.get("categories") or _touched_categories(inputs, index)
        fill_pool(pool, count + TAIL, fillers(index, categories, inputs.get("segment")), mask)
    pinned = {
        place: position
        for place, (position, _) in effect.pins.items()
        if position not in kept_out and place < count
    }
    for position in pinned.values():
        pool[position] = (pool[position][0] if position in pool else 0.0, PINNED, NOBODY)
    caps = effect.max_per_category, effect.max_per_brand
    order = by_relevance(pool)
    mix = _category_mix(inputs, index) if effect.calibration else {}
    if mix:
        ranked, capped = choose_calibrated(
            pool, count, index, inputs["diversity"], mix, effect.calibration, pinned, *caps
        )
    else:
        ranked, capped = choose(order, count, index, inputs["diversity"], pinned, *caps)
    if capped:
        removed[CAPS] = capped
    epsilon = inputs["explore"]
    tail = tail_of(order, (*ranked, *capped), TAIL, index, *caps) if epsilon else []
    fixed = {place for place, position in enumerate(ranked) if position in pinned.values()} if pinned else ()
    positions, propensities = explore(ranked, tail, epsilon, inputs["id"], fixed)
    slot = slots.PERSONALIZED_PICKS if inputs.get("slots") else None
    return [
        _shown(position, pool[position], propensity, slot)
        for position, propensity in zip(positions, propensities, strict=True)
    ]


def _shown(position: int, candidate: Candidate, propensity: float, slot: str | None) -> Shown:
    score, algorithm, anchor = candidate
    return Shown(position, round(score, 6), algorithm, anchor, propensity, slot)


def _never(inputs: Mapping[str, Any], index: CatalogueIndex) -> set[int]:
    """Positions that this visitor is not shown: bought just now, or ever if asked to leave that out."""
    items = [*inputs.get("bought_now", ())]
    if inputs.get("exclude_seen"):
        items += inputs.get("seen", ())
    position = index.position
    found = {position[item] for item in items if item in position}
    current = _position(inputs.get("current"), index)
    if current is not None:
        found.add(current)
    return found


def _fill_slots(
    inputs: Mapping[str, Any],
    wanted: Mapping[str, int],
    index: CatalogueIndex,
    effect: Effect,
    current: int | None,
    used: set[int],
) -> tuple[list[Shown], set[int]]:
    """Every slot but the personal one; these are not explored."""
    touched = inputs.get("touched") or ()
    recent = [index.position[item] for item, _, _ in touched]
    anchor = current if current is not None else (recent[0] if recent else None)
    category = inputs.get("page_category") or (None if anchor is None else index.category[anchor])
    used = used | _never(inputs, index)
    shown: list[Shown] = []
    for kind, count in slots.slot_counts(wanted).items():
        if kind == slots.PERSONALIZED_PICKS:
            continue
        found = slots.fill_slot(kind, count, index, anchor, category, recent, used, effect.blocked)
        shown += [
            Shown(position, round(score, 6), algorithm, tied_to, 1.0, kind)
            for position, score, algorithm, tied_to in found
        ]
    return shown, used


def _touched_categories(inputs: Mapping[str, Any], index: CatalogueIndex) -> list[str]:
    names = (index.category[index.position[item]] for item, _, _ in inputs.get("touched") or ())
    return list(dict.fromkeys(name for name in names if name is not None))


def _category_mix(inputs: Mapping[str, Any], index: CatalogueIndex) -> dict[int, float]:
    """The visitor's shares of the categories that this release has, by number; empty where none is known."""
    numbers = index.category_number
    known = {
        numbers[name]: share for name, share in inputs.get("mix", {}).items() if name in numbers and share > 0
    }
    total = sum(known.values())
    return {number: share / total for number, share in known.items()} if total > 0 else {}


def _position(item_id: str | None, index: CatalogueIndex) -> int | None:
    return None if item_id is None else index.position.get(item_id)


SENTENCES = {
    SIMILAR: "similar to {anchor}",
    TOGETHER: "often bought with {anchor}",
    FOLD_IN: "matches what you looked at",
    "collaborative": "chosen by customers with similar taste",
    "buy_again": "you bought this before",
    POPULAR_IN_CATEGORY: "popular in {category}",
    POPULAR_IN_SEGMENT: "popular with customers like you",
    TRENDING: "rising now",
    TRENDING_IN_CATEGORY: "rising now in {category}",
    POPULAR_RECENTLY: "popular now",
    POPULAR: "popular with all customers",
    slots.RECENT: "you looked at this",
    PINNED: "chosen by the shop",
}
OTHER_SENTENCE = "chosen for you"
_PLAIN = {name: text for name, text in SENTENCES.items() if "{" not in text}


def reason(shown: Shown, index: CatalogueIndex) -> str:
    """Why an item is shown, as a short phrase; which version drafted it (`NAME@VERSION`) is not told."""
    algorithm = shown.algorithm.partition("@")[0]
    plain = _PLAIN.get(algorithm)
    if plain is not None:
        return plain
    sentence = SENTENCES.get(algorithm)
    if sentence is None:
        return OTHER_SENTENCE
    if shown.anchor == NOBODY and "{anchor}" in sentence:
        return OTHER_SENTENCE
    return sentence.format(
        anchor="" if shown.anchor == NOBODY else index.name(shown.anchor),
        category=index.category[shown.position] or "the shop",
    )
