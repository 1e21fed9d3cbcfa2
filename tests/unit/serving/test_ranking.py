"""The steps of a recommendation: scores, session, diversity, exploration, slots, and all of them together."""

from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.decisions.candidates import (
    DEFAULT_WEIGHTS,
    NOBODY,
    PERSONAL_FLOOR,
    Pool,
    Touch,
    blended_pool,
    stored_pool,
    touch_strengths,
)
from serving.decisions.diversity import by_relevance, choose, tail_of
from serving.decisions.exploration import draws, explore
from serving.decisions.live_rerank import rerank
from serving.decisions.ranking import decide, reason
from serving.decisions.receipt import output_of, recompute
from serving.decisions.rules import Actions, HeldRule, compile_rules
from serving.decisions.slots import SLOT_TYPES
from tests.unit.serving.test_rules import INDEX

AT = INDEX.position
MUG, CUP, POT, LAMP, BULB, RUG = (AT[each] for each in ("mug", "cup", "pot", "lamp", "bulb", "rug"))
PLAIN = compile_rules([], INDEX)
STORED = {
    "items": ["mug", "lamp", "pot"],
    "scores": [0.9, 0.5, 0.4],
    "kinds": [0, 1, 0],
    "algorithms": ["collaborative", "buy_again"],
}


def inputs(**values: Any) -> dict[str, Any]:
    return {"id": "d1", "limit": 6, "rung": "batch", "explore": 0.0, "diversity": 0.0, "rules": [], **values}


def shown(values: dict[str, Any], *actions: Actions) -> list[str]:
    effect = compile_rules([HeldRule(f"r{number}", each) for number, each in enumerate(actions)], INDEX)
    return [INDEX.item_ids[each.position] for each in decide(values, INDEX, effect).shown]


# scores


def test_stored_scores_are_shares_of_the_best_above_the_floor() -> None:
    pool = stored_pool(["mug", "gone", "lamp"], [2.0, 1.5, 1.0], ["a", "a", "b"], AT)
    assert pool == {MUG: (1.0, "a", NOBODY), LAMP: (pytest.approx(0.55), "b", NOBODY)}


def test_the_smallest_score_that_a_float_holds_is_a_share_like_any_other() -> None:
    assert stored_pool(["mug", "lamp"], [5e-324, 0.0], ["a", "a"], AT)[MUG][0] == 1.0


def test_touches_fade_with_age_and_place_and_the_strongest_event_of_an_item_counts() -> None:
    now = 12 * 3600 * 1_000_000
    recent = [("mug", "product_view", now), ("mug", "add_to_cart", now), ("lamp", "product_view", 0)]
    (mug, mug_near, mug_together), (lamp, lamp_near, _) = touch_strengths(recent, now, AT)
    assert (mug, lamp) == ("mug", "lamp")
    assert mug_near == pytest.approx(0.7 * 0.85, abs=1e-4)
    assert mug_together == pytest.approx(0.85, abs=1e-4)
    assert lamp_near == pytest.approx(0.5 * 0.85**2 * 0.5, abs=1e-4), "half after twelve hours"


def test_what_was_taken_out_of_the_cart_pulls_nothing() -> None:
    assert touch_strengths([("mug", "remove_from_cart", 0)], None, AT) == []


def test_the_blend_weighs_what_there_is_evidence_for() -> None:
    touched = [Touch(LAMP, 1.0, 0.0)]
    pool = blended_pool(stored_pool(["mug"], [1.0], ["a"], AT), {}, touched, (), INDEX, DEFAULT_WEIGHTS)
    # the mug: hybrid 1, nothing else; the bulb: similar to the lamp (0.9), of its category and brand
    assert pool[MUG][0] == pytest.approx(PERSONAL_FLOOR + 0.9 * 0.4)
    assert pool[BULB][0] == pytest.approx(PERSONAL_FLOOR + 0.9 * (0.3 * 0.9 + 0.3 * 1.0))
    assert pool[BULB][1:] == ("similar_items", LAMP)
    only_content = blended_pool({}, {}, touched, (), INDEX, {"content": 1.0})
    assert only_content[BULB][0] == pytest.approx(1.0)


def test_a_filled_cart_pulls_what_is_bought_with_it() -> None:
    pool = blended_pool({}, {}, [Touch(MUG, 0.0, 1.0)], (), INDEX, {"collaborative": 1.0})
    assert pool[POT][1:] == ("bought_together", MUG)
    assert reason(decide(inputs(touched=[["mug", 0.0, 1.0]]), INDEX, PLAIN).shown[0], INDEX) == (
        "often bought with Mug"
    )


def test_which_version_drafted_an_item_is_not_told_in_its_reason() -> None:
    stored = STORED | {"algorithms": ["buy_again@7"], "kinds": [0] * len(STORED["items"])}
    shown = decide(inputs(stored=stored), INDEX, PLAIN).shown[0]
    assert (shown.algorithm, reason(shown, INDEX)) == ("buy_again@7", "you bought this before")


# the session


def test_a_category_of_the_session_rises_and_what_tires_falls() -> None:
    pool: Pool = {MUG: (0.6, "a", NOBODY), LAMP: (0.5, "a", NOBODY), CUP: (0.6, "a", NOBODY)}
    moved = rerank(pool, ["light"], {CUP: 3}, INDEX)
    assert moved[LAMP][0] > moved[MUG][0] > moved[CUP][0]
    assert all(0 <= score <= 1 for score, _, _ in moved.values())
    assert rerank(pool, [], {}, INDEX) is pool


def test_what_was_bought_in_the_session_is_not_shown() -> None:
    values = inputs(stored=STORED, bought_now=["mug"], touched=[["mug", 0.1, 1.0]])
    outcome = decide(values, INDEX, PLAIN)
    assert MUG not in [each.position for each in outcome.shown]
    assert outcome.removed == {"bought_in_session": [MUG]}


# diversity

pools = st.dictionaries(
    st.integers(0, len(INDEX.item_ids) - 1),
    st.tuples(st.floats(0, 1), st.just("a"), st.just(NOBODY)),
    max_size=6,
)


@given(pools, st.integers(1, 6), st.floats(0, 1))
def test_the_lazy_heap_gives_the_greedy_list(pool: Pool, limit: int, strength: float) -> None:
    expected: list[int] = []
    while len(expected) < min(limit, len(pool)):
        rest = [each for each in pool if each not in expected]

        def value(position: int) -> tuple[float, int]:
            likest = 0.0
            for other in expected:
                same = INDEX.category_of[other] == INDEX.category_of[position] >= 0
                found = INDEX.likeness_of(other).get(position, 0.0)
                likest = max(likest, found, 0.4 if same else 0.0)
            return pool[position][0] * (1 - strength * likest), -position

        expected.append(max(rest, key=value))
    assert choose(by_relevance(pool), limit, INDEX, strength)[0] == expected


def test_without_strength_the_order_is_that_of_scores() -> None:
    pool: Pool = {MUG: (0.9, "a", NOBODY), CUP: (0.8, "a", NOBODY), LAMP: (0.7, "a", NOBODY)}
    assert choose(by_relevance(pool), 3, INDEX, 0.0)[0] == [MUG, CUP, LAMP]
    assert choose(by_relevance(pool), 3, INDEX, 0.5)[0] == [MUG, LAMP, CUP], "a cup is like a mug"


@given(pools, st.integers(1, 6), st.integers(1, 2), st.sets(st.integers(0, 5), max_size=2))
def test_caps_hold_whatever_the_tail_puts_in(pool: Pool, limit: int, cap: int, drawn: set[int]) -> None:
    ranked, _ = choose(by_relevance(pool), limit, INDEX, 0.3, None, cap)
    tail = tail_of(by_relevance(pool), ranked, 20, INDEX, cap)
    everything = Counter(INDEX.category_of[each] for each in (*ranked, *tail) if INDEX.category_of[each] >= 0)
    assert all(count <= cap for count in everything.values())
    assert not set(ranked) & set(tail)


# exploration


def test_frequencies_are_the_logged_propensities() -> None:
    ranked, tail, epsilon, runs = [0, 1, 2, 3], [10, 11, 12], 0.3, 40_000
    counts: list[Counter[int]] = [Counter() for _ in ranked]
    logged: list[dict[int, float]] = [{} for _ in ranked]
    for run in range(runs):
        items, propensities = explore(ranked, tail, epsilon, f"seed-{run}", fixed={0})
        assert len(set(items)) == len(items)
        for place, (item, propensity) in enumerate(zip(items, propensities, strict=True)):
            counts[place][item] += 1
            assert logged[place].setdefault(item, propensity) == propensity, "it does not depend on luck"
    assert counts[0] == {0: runs}
    assert logged[0] == {0: 1.0}
    for place in (1, 2, 3):
        assert sum(logged[place].values()) == pytest.approx(1.0)
        for item, propensity in logged[place].items():
            error = (propensity * (1 - propensity) / runs) ** 0.5
            assert abs(counts[place][item] / runs - propensity) < 4.5 * error


@given(
    st.lists(st.integers(0, 50), unique=True, max_size=12),
    st.lists(st.integers(100, 150), unique=True, max_size=6),
    st.floats(0, 0.5),
    st.text(max_size=8),
)
def test_exploring_repeats_nothing_and_says_how_likely_each_place_was(
    ranked: list[int], tail: list[int], epsilon: float, seed: str
) -> None:
    items, propensities = explore(ranked, tail, epsilon, seed)
    assert (items, propensities) == explore(ranked, tail, epsilon, seed)
    assert len(items) == len(ranked) == len(propensities)
    assert len(set(items)) == len(items)
    for place, (item, propensity) in enumerate(zip(items, propensities, strict=True)):
        if item == ranked[place]:
            assert propensity in (1.0, round(1 - epsilon, 9))
        else:
            assert item in tail
            assert propensity == round(epsilon / len(tail), 9)


def test_draws_are_even() -> None:
    numbers = draws("even", 20_000)
    assert len(numbers) == 20_000
    buckets = Counter(number // (2**32 // 8) for number in numbers)
    assert max(buckets.values()) - min(buckets.values()) < 400


# all of it


def test_rules_say_what_they_left_out() -> None:
    values = inputs(stored=STORED)
    effect = compile_rules([HeldRule("in_stock", Actions(exclude_out_of_stock=True))], INDEX)
    outcome = decide(values, INDEX, effect)
    assert outcome.removed == {"in_stock": [POT]}
    output = output_of(outcome, INDEX, "batch")
    assert output["removed"] == {"in_stock": {"count": 1, "items": ["pot"]}}


def test_a_pin_stands_at_its_place_and_is_not_explored() -> None:
    values = inputs(stored=STORED, explore=1.0, limit=3)
    effect = compile_rules([HeldRule("shop", Actions(pin={2: "rug"}))], INDEX)
    second = decide(values, INDEX, effect).shown[1]
    assert (second.position, second.propensity, second.algorithm) == (RUG, 1.0, "pinned")


def test_brand_and_margin_preferences_change_the_order() -> None:
    equal = {**STORED, "items": ["pot", "lamp"], "scores": [1.0, 1.0], "kinds": [0, 0]}
    liked = inputs(stored=equal, brands={"C": 1.0})
    assert shown(liked, Actions(respect_brand_preferences=0.5))[:2] == ["lamp", "pot"]
    assert shown(inputs(stored=equal), Actions(prefer_high_margin=0.5))[:2] == ["lamp", "pot"]
    assert shown(inputs(stored=equal))[:2] == ["pot", "lamp"]


def test_a_list_is_calibrated_to_the_mix_of_its_inputs() -> None:
    stored = {**STORED, "items": ["mug", "cup", "lamp"], "scores": [1.0, 0.9, 0.8], "kinds": [0, 0, 0]}
    values = inputs(stored=stored, limit=2, diversity=0.0)
    assert shown(values) == ["mug", "cup"]
    even = values | {"mix": {"kitchen": 0.5, "light": 0.5, "sold long ago": 0.3}}
    assert set(shown(even, Actions(calibrate_categories=0.5))) == {"mug", "lamp"}
    # Nothing is known of the visitor, or no rule asks for it: the plain list.
    assert shown(values, Actions(calibrate_categories=0.5)) == shown(even) == ["mug", "cup"]


def test_what_was_seen_is_left_out_where_that_is_asked() -> None:
    assert "mug" not in shown(inputs(stored=STORED, exclude_seen=True, seen=["mug"]))
    assert "mug" in shown(inputs(stored=STORED, seen=["mug"]))


def test_a_list_is_filled_up_by_what_is_popular_below_what_is_personal() -> None:
    outcome = decide(inputs(stored=STORED, limit=6), INDEX, PLAIN)
    scores = [each.score for each in outcome.shown]
    assert [each.algorithm for each in outcome.shown[3:]] == ["popular_recently", "popular", "popular"]
    assert min(scores[:3]) > PERSONAL_FLOOR > max(scores[3:])
    assert all(left >= right for left, right in pairwise(scores))


def test_slots_take_their_kind_and_no_item_twice() -> None:
    counts = {
        "similar_products": 2,
        "complementary_products": 1,
        "trending_in_category": 1,
        "personalized_picks": 2,
    }
    values = inputs(stored=STORED, slots=counts, current="mug", touched=[["lamp", 0.5, 0.2]])
    outcome = decide(values, INDEX, PLAIN)
    by_slot = {
        name: [INDEX.item_ids[each.position] for each in found] for name, found in outcome.by_slot.items()
    }
    assert by_slot["similar_products"] == ["cup", "pot"]
    every = [item for found in by_slot.values() for item in found]
    assert len(set(every)) == len(every)
    assert "mug" not in every, "the page shows it already"
    assert {name: len(found) for name, found in by_slot.items() if found} == {
        "similar_products": 2,
        "complementary_products": 1,
        "trending_in_category": 1,
        "personalized_picks": 1,
    }, "six items, one of them on the page"


item_ids = st.sampled_from(INDEX.item_ids)
item_lists = st.lists(item_ids, unique=True, max_size=6)


@st.composite
def decisions(draw: st.DrawFn) -> tuple[dict[str, Any], Actions]:
    stored = draw(item_lists)
    values = inputs(
        id=draw(st.text(max_size=6)),
        limit=draw(st.integers(1, 6)),
        explore=draw(st.sampled_from([0.0, 0.3, 1.0])),
        diversity=draw(st.sampled_from([0.0, 0.3])),
        stored={
            "items": stored,
            "scores": sorted((draw(st.floats(-1, 3)) for _ in stored), reverse=True),
            "kinds": [0] * len(stored),
            "algorithms": ["collaborative"],
        },
        touched=[[item, draw(st.floats(0, 1)), draw(st.floats(0, 1))] for item in draw(item_lists)],
        categories=draw(st.lists(st.sampled_from(["kitchen", "light", "garden"]), unique=True)),
        seen=draw(item_lists),
        bought_now=draw(item_lists),
    )
    if draw(st.booleans()):
        values["exclude_seen"] = True
    if draw(st.booleans()):
        values["current"] = draw(item_ids)
    if draw(st.booleans()):
        values["slots"] = draw(st.dictionaries(st.sampled_from(SLOT_TYPES), st.integers(0, 4), min_size=1))
    values["session"] = {"categories": values["categories"], "views": [[item, 4] for item in stored[:1]]}
    actions = Actions(
        exclude_out_of_stock=draw(st.booleans()),
        prefer_high_margin=draw(st.sampled_from([0.0, 0.7])),
        ban=tuple(draw(item_lists)[:2]),
        pin={draw(st.integers(1, 6)): draw(item_ids)} if draw(st.booleans()) else {},
        max_per_category=draw(st.sampled_from([None, 1, 2])),
    )
    values["rules"] = [HeldRule("some", actions).to_dict()]
    return values, actions


@settings(max_examples=300)
@given(decisions())
def test_nothing_excluded_nothing_twice_never_too_many_and_the_receipt_repeats_it(
    drawn: tuple[dict[str, Any], Actions],
) -> None:
    values, actions = drawn
    effect = compile_rules([HeldRule("some", actions)], INDEX)
    outcome = decide(values, INDEX, effect)
    items = [INDEX.item_ids[each.position] for each in outcome.shown]
    assert len(set(items)) == len(items)
    allowed = sum(values["slots"].values()) if values.get("slots") else values["limit"]
    assert len(items) <= allowed
    forbidden = {*actions.ban, *values["bought_now"], values.get("current")}
    forbidden |= {"pot"} if actions.exclude_out_of_stock else set()
    forbidden |= set(values["seen"]) if values.get("exclude_seen") else set()
    assert not forbidden & set(items)
    assert all(0.0 <= each.score <= 1.0 + 1e-9 and 0.0 < each.propensity <= 1.0 for each in outcome.shown)
    if actions.max_per_category and not values.get("slots"):
        pinned = {*actions.pin.values()}
        free = [INDEX.category[AT[item]] for item in items if item not in pinned and INDEX.category[AT[item]]]
        assert max(Counter(free).values(), default=0) <= actions.max_per_category
    assert recompute(values, INDEX) == output_of(outcome, INDEX, "batch")
