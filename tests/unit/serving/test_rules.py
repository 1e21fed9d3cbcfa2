"""Business rules: what is refused, when they hold, what they do, in whatever order they stand."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from serving.decisions.catalogue import CatalogueIndex, index_catalogue
from serving.decisions.rules import (
    Actions,
    Conditions,
    HeldRule,
    Rule,
    RuleSet,
    Situation,
    compile_rules,
    held_from,
    holds,
)
from tests.fakes import tiny_release

MONDAY_NOON = datetime(2024, 2, 5, 12, tzinfo=UTC)


def tiny_index() -> CatalogueIndex:
    release = tiny_release()
    return index_catalogue(release.items, release.popularity, release.relations)


INDEX = tiny_index()


def blocked(*actions: Actions) -> set[str]:
    effect = compile_rules([HeldRule(f"r{number}", each) for number, each in enumerate(actions)], INDEX)
    return {INDEX.item_ids[position] for position, mark in enumerate(effect.blocked) if mark}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"id": "Not An Id", "then": {}}, "id"),
        ({"id": "a"}, "then"),
        ({"id": "a", "then": {"explode": True}}, "explode"),
        ({"id": "a", "then": {"prefer_high_margin": 2}}, "less than or equal to 1"),
        ({"id": "a", "then": {"price_min": 9, "price_max": 1}}, "price_min 9 is above price_max 1"),
        ({"id": "a", "then": {"pin": {"1": "mug", "2": "mug"}}}, "two positions"),
        ({"id": "a", "then": {"pin": {"0": "mug"}}}, "greater than or equal to 1"),
        ({"id": "a", "when": {"hours": [8, 25]}, "then": {}}, "less than or equal to 24"),
        ({"id": "a", "when": {"starts_at": "2024-01-01T00:00:00"}, "then": {}}, "timezone"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused_with_what_is_wrong(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Rule.model_validate(values)


def test_two_rules_have_two_ids_and_none_the_one_of_requests() -> None:
    rule = {"id": "a", "then": {}}
    with pytest.raises(ValidationError, match="two rules have the id 'a'"):
        RuleSet.model_validate({"rules": [rule, rule]})
    with pytest.raises(ValidationError, match="'request'"):
        RuleSet.model_validate({"rules": [{"id": "request", "then": {}}]})


def test_true_is_the_default_strength_and_a_number_is_itself() -> None:
    assert Actions.model_validate({"prefer_high_margin": True}).prefer_high_margin == 0.5
    assert Actions.model_validate({"prefer_high_margin": 0.2}).prefer_high_margin == 0.2
    assert Actions.model_validate({"prefer_high_margin": False}).prefer_high_margin == 0.0


@pytest.mark.parametrize(
    ("when", "does_hold"),
    [
        ({}, True),
        ({"segments": ["high"]}, True),
        ({"segments": ["low", "at_risk"]}, False),
        ({"pages": ["product_detail_page"]}, True),
        ({"pages": ["cart"]}, False),
        ({"categories": ["kitchen"]}, True),
        ({"categories": ["light"]}, False),
        ({"hours": [8, 13]}, True),
        ({"hours": [13, 20]}, False),
        ({"hours": [22, 13]}, True),
        ({"hours": [22, 6]}, False),
        ({"weekdays": [0]}, True),
        ({"weekdays": [5, 6]}, False),
        ({"starts_at": MONDAY_NOON}, True),
        ({"starts_at": MONDAY_NOON + timedelta(seconds=1)}, False),
        ({"ends_at": MONDAY_NOON}, False),
        ({"attributes": {"device": ["mobile"]}}, True),
        ({"attributes": {"device": ["desktop"]}}, False),
        ({"attributes": {"channel": ["web"]}}, False),
        ({"pages": ["product_detail_page"], "weekdays": [6]}, False),
    ],
)
def test_a_rule_holds_where_all_of_its_conditions_do(when: dict[str, Any], does_hold: bool) -> None:
    situation = Situation(
        MONDAY_NOON, "product_detail_page", "kitchen", "high", attributes={"device": "mobile"}
    )
    assert holds(Conditions.model_validate(when), situation) is does_hold


def test_exclusions_leave_out_what_they_name() -> None:
    assert blocked(Actions(exclude_out_of_stock=True)) == {"pot"}, "unknown stock counts as there"
    assert blocked(Actions(only_categories=("Kitchen",))) == {"lamp", "bulb", "rug"}
    assert blocked(Actions(exclude_brands=("a",))) == {"mug", "cup"}
    assert blocked(Actions(price_min=4.0, price_max=12.0)) == {"cup", "lamp", "bulb", "rug"}
    assert blocked(Actions(ban=("mug", "no-such-item"))) == {"mug"}
    assert blocked(Actions(ban=("mug",)), Actions(ban=("cup",))) == {"mug", "cup"}


def test_margins_move_scores_and_never_above_one() -> None:
    boosts = compile_rules([HeldRule("a", Actions(prefer_high_margin=1.0))], INDEX).boosts
    assert boosts is not None
    assert boosts[INDEX.position["mug"]] == 1.0, "the largest margin of the catalogue"
    assert boosts[INDEX.position["rug"]] == 0.5, "an unknown margin gains nothing"
    assert max(boosts) <= 1.0


def test_of_two_pins_at_one_place_the_higher_priority_stands() -> None:
    low = HeldRule("a", Actions(pin={1: "mug"}), 0)
    high = HeldRule("b", Actions(pin={1: "lamp"}), 5)
    for order in ([low, high], [high, low]):
        assert compile_rules(order, INDEX).pins == {0: (INDEX.position["lamp"], "b")}


def test_a_pin_of_what_a_rule_leaves_out_or_nobody_knows_is_ignored() -> None:
    rules = [HeldRule("a", Actions(pin={1: "pot", 2: "nothing"})), HeldRule("b", Actions(ban=("pot",)))]
    assert compile_rules(rules, INDEX).pins == {}


def test_the_smallest_cap_counts() -> None:
    rules = [HeldRule("a", Actions(max_per_category=3)), HeldRule("b", Actions(max_per_category=2))]
    assert compile_rules(rules, INDEX).max_per_category == 2


items = st.sampled_from(INDEX.item_ids)
actions = st.builds(
    Actions,
    exclude_out_of_stock=st.booleans(),
    exclude_seen=st.booleans(),
    prefer_high_margin=st.sampled_from([0.0, 0.3, 1.0]),
    respect_brand_preferences=st.sampled_from([0.0, 0.5]),
    prefer_novelty=st.sampled_from([0.0, 0.4]),
    calibrate_categories=st.sampled_from([0.0, 0.2, 0.7]),
    exclude_categories=st.lists(st.sampled_from(["kitchen", "light"]), max_size=1).map(tuple),
    ban=st.lists(items, max_size=2).map(tuple),
    pin=st.dictionaries(st.integers(1, 4), items, max_size=1),
    max_per_brand=st.none() | st.integers(1, 3),
)


@given(st.lists(actions, max_size=3), st.lists(st.integers(-2, 2), min_size=3, max_size=3))
def test_the_order_of_rules_changes_nothing(chosen: list[Actions], priorities: list[int]) -> None:
    rules = [
        HeldRule(f"r{number}", each, priority)
        for number, (each, priority) in enumerate(zip(chosen, priorities, strict=False))
    ]
    first, *others = [compile_rules(order, INDEX) for order in itertools.permutations(rules)]
    assert all(other == first for other in others)


@given(st.lists(actions, max_size=3))
def test_rules_survive_the_receipt(chosen: list[Actions]) -> None:
    rules = [HeldRule(f"r{number}", each) for number, each in enumerate(chosen)]
    effect = compile_rules(rules, INDEX)
    assert compile_rules(held_from([rule.to_dict() for rule in rules]), INDEX) == effect
