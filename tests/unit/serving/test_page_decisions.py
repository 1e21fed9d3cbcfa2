"""Homepage, layout, content, experience and variants: pure, reproducible, honest about what is not known."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.decisions import content, experience, homepage, layout
from serving.pages.variants import BrokenVariants, parse_variants, read_variants

SECTIONS = [
    {"type": "recommended_products", "title": "Recommended for You", "products": ["a", "b", "c", "d"]},
    {"type": "recently_viewed", "title": "Recently Viewed", "products": ["b", "e"]},
    {"type": "trending", "title": "Trending in Kitchen", "products": ["a", "f", "g"]},
    {"type": "similar_products", "title": "Because You Viewed B", "products": []},
]
NO_PREFERENCES = {"layout": None, "theme": None, "language": None}


def page(**changes: Any) -> dict[str, Any]:
    inputs = {
        "sections": SECTIONS,
        "own": {},
        "everybody": {},
        "products_per_section": 3,
        "preferences": NO_PREFERENCES,
        "device": None,
    }
    return homepage.decide(orjson.loads(orjson.dumps(inputs | changes)))


def types(answer: dict[str, Any]) -> list[str]:
    return [section["type"] for section in answer["sections"]]


# homepage and layout


def test_without_responses_sections_stand_as_documented() -> None:
    assert types(page()) == ["recommended_products", "recently_viewed", "trending"]


def test_sections_are_ordered_by_what_this_visitor_responds_to() -> None:
    assert types(page(own={"trending": 30.0}))[0] == "trending"


def test_a_few_own_responses_do_not_overrule_everybody() -> None:
    everybody = {"recommended_products": 9000.0, "trending": 1000.0}
    assert types(page(own={"trending": 1.0}, everybody=everybody))[0] == "recommended_products"


def test_a_product_is_proposed_once_but_may_also_be_recently_viewed() -> None:
    sections = {section["type"]: section["products"] for section in page()["sections"]}
    assert sections["recommended_products"] == ["a", "b", "c"]
    assert sections["recently_viewed"] == ["b", "e"]
    assert sections["trending"] == ["f", "g"]


def test_own_choice_of_layout_and_theme_wins_over_the_device() -> None:
    chosen = {"layout": "carousel", "theme": "dark", "language": "pt"}
    assert layout.arrange(chosen, "mobile") == chosen
    assert layout.arrange({}, "mobile")["layout"] == "list"
    assert layout.arrange({}, None) == {"layout": "grid", "theme": "light", "language": "en"}


def test_navigation_puts_interest_first_and_loses_no_category() -> None:
    affinity = layout.category_affinity(["toys", "home"], ["pets"])
    assert list(affinity) == ["pets", "toys", "home"]
    assert layout.navigation(["home", "food", "toys", "pets"], affinity) == ["pets", "toys", "home", "food"]


# content


def piece(content_id: str, category: str, **factors: float) -> dict[str, Any]:
    filled = dict.fromkeys(content.FACTORS, 0.0) | factors
    return {"content_id": content_id, "category": category, "factors": filled}


def choose(pieces: list[dict[str, Any]], count: int, **weights: float) -> list[dict[str, Any]]:
    inputs = {
        "counts": {"blog_articles": count},
        "weights": content.normalised(weights),
        "pieces": {"blog_articles": pieces},
        "proof": [],
    }
    found: list[dict[str, Any]] = content.decide(inputs)["blocks"]["blog_articles"]
    return found


def test_weights_decide_and_name_the_reason() -> None:
    pieces = [
        piece("liked", "home", interest_alignment=1.0),
        piece("new", "pets", trending_score=1.0),
    ]
    assert choose(pieces, 1)[0] == {"content_id": "liked", "score": 0.4, "reason": "interest_alignment"}
    trendy = choose(pieces, 1, interest_alignment=0, engagement_history=0, trending_score=5)
    assert trendy[0]["content_id"] == "new"


def test_a_block_shows_several_interests() -> None:
    pieces = [piece(f"h{n}", "home", interest_alignment=1.0) for n in range(3)]
    pieces.append(piece("p", "pets", interest_alignment=0.8))
    assert [each["content_id"] for each in choose(pieces, 2)] == ["h0", "p"]


@given(st.dictionaries(st.sampled_from(list(content.FACTORS)), st.floats(0, 100)))
def test_weights_add_up_to_one(weights: dict[str, float]) -> None:
    assert sum(content.normalised(weights).values()) == pytest.approx(1.0, abs=1e-6)


def test_a_piece_is_in_season_in_its_month_and_around_the_new_year() -> None:
    assert content.season(12, 12) == 1.0
    assert content.season(1, 12) == content.season(11, 12) == pytest.approx(2 / 3)
    assert content.season(6, 12) == 0.0
    assert content.season(6, None) == 0.5


def test_interest_is_relative_to_the_strongest_one() -> None:
    assert content.interest(["home"], {"home": 0.2, "pets": 0.4}) == 0.5
    assert content.interest(["home", "pets"], {"home": 0.2, "pets": 0.4}) == 1.0
    assert content.interest(["home"], {}) == 0.0


def test_what_is_liked_more_engages_more() -> None:
    assert content.liking(100, 20) > content.liking(100, 2) > content.liking(100, 0) > 0
    assert content.engagement(0.5, 0.5) > content.engagement(0.5, 0.1)
    assert content.trend(0, 0) == 0.0
    assert content.trend(10, 10) == 1.0


def proof(**facts: Any) -> dict[str, Any]:
    return {"item_id": "mug", "buyers": 0, "days": 30, "rating": None, "ratings": 0, "affinity": 0.0} | facts


def test_social_proof_states_what_was_counted() -> None:
    facts = [proof(buyers=132), proof(item_id="pot", ratings=21, rating=4.33)]
    inputs = {"counts": {"social_proof": 4}, "weights": {}, "pieces": {}, "proof": facts}
    texts = [each["text"] for each in content.decide(inputs)["blocks"]["social_proof"]]
    assert texts == ["Bought by 132 customers in the last 30 days", "Rated 4.3 of 5 by 21 customers"]


def test_too_few_buyers_prove_nothing() -> None:
    facts = [proof(buyers=content.LEAST_BUYERS - 1, ratings=content.LEAST_RATINGS - 1, rating=5.0)]
    inputs = {"counts": {"social_proof": 4}, "weights": {}, "pieces": {}, "proof": facts}
    assert content.decide(inputs)["blocks"]["social_proof"] == []


# experience


def element(evidence: dict[str, list[int]], assigned: str | None = None) -> dict[str, Any]:
    names = ["plain", "bold"]
    counts = {name: {"segment": [0, 0, 0], "all": evidence.get(name, [0, 0, 0])} for name in names}
    return {"name": "hero", "default": "plain", "eligible": names, "assigned": assigned, "evidence": counts}


def serve(*elements: dict[str, Any], goals: dict[str, float] | None = None) -> dict[str, Any]:
    return experience.decide({"threshold": 0.7, "goals": goals or {}, "elements": list(elements)})


def test_without_evidence_the_default_is_served_and_little_is_claimed() -> None:
    [found] = serve(element({}))["elements"]
    assert (found["variant"], found["reason"], found["expected_lift"]) == ("plain", "no_evidence", 0.0)
    assert 0.5 < found["confidence_score"] < 0.7
    assert found["lift_low"] < -50
    assert found["lift_high"] > 100


def test_a_variant_that_proved_better_is_served_with_its_lift() -> None:
    [found] = serve(element({"plain": [5000, 500, 150], "bold": [5000, 750, 240]}))["elements"]
    assert (found["variant"], found["reason"]) == ("bold", "better_than_default")
    assert found["confidence_score"] > 0.95
    assert 0 < found["lift_low"] < found["expected_lift"] < found["lift_high"] < 70


def test_a_variant_that_is_no_better_is_not_served() -> None:
    [found] = serve(element({"plain": [5000, 500, 150], "bold": [5000, 400, 100]}))["elements"]
    assert (found["variant"], found["reason"]) == ("plain", "below_threshold")
    assert found["confidence_score"] > 0.95


def test_a_lucky_start_is_not_believed() -> None:
    [found] = serve(element({"plain": [20, 1, 0], "bold": [20, 4, 1]}))["elements"]
    assert found["variant"] == "plain"


def test_the_goals_decide_what_better_means() -> None:
    evidence = {"plain": [9000, 900, 450], "bold": [9000, 1350, 270]}
    engaging = serve(element(evidence), goals={"increase_engagement": 1.0, "drive_conversions": 0.0})
    selling = serve(element(evidence), goals={"increase_engagement": 0.0, "drive_conversions": 1.0})
    assert engaging["elements"][0]["variant"] == "bold"
    assert selling["elements"][0]["variant"] == "plain"


def test_an_experiment_decides_whatever_the_evidence_says() -> None:
    [found] = serve(element({"plain": [5000, 500, 150], "bold": [5000, 400, 100]}, "bold"))["elements"]
    assert (found["variant"], found["reason"]) == ("bold", "experiment")
    assert found["confidence_score"] < 0.1
    assert found["expected_lift"] < 0


def test_a_segment_of_its_own_mind_gets_its_own_variant() -> None:
    counts = element({"plain": [20_000, 2000, 600], "bold": [20_000, 2000, 600]})
    counts["evidence"]["plain"]["segment"] = [5000, 300, 90]
    counts["evidence"]["bold"]["segment"] = [5000, 700, 210]
    assert serve(counts)["elements"][0]["variant"] == "bold"


@given(st.lists(st.integers(0, 1000), min_size=6, max_size=6))
def test_whatever_was_counted_the_answer_is_a_probability_and_an_interval(counts: list[int]) -> None:
    evidence = {"plain": sorted(counts[:3], reverse=True), "bold": sorted(counts[3:], reverse=True)}
    [found] = serve(element(evidence))["elements"]
    assert 0 <= found["confidence_score"] <= 1
    assert found["lift_low"] <= found["expected_lift"] <= found["lift_high"]


def test_decisions_survive_json_and_come_out_the_same() -> None:
    inputs = {"threshold": 0.7, "goals": {}, "elements": [element({"plain": [50, 5, 1], "bold": [60, 9, 3]})]}
    again = orjson.loads(orjson.dumps(inputs))
    assert orjson.loads(orjson.dumps(experience.decide(inputs))) == experience.decide(again)


# variants


def test_the_packaged_variants_name_the_documented_elements() -> None:
    documented = {
        "hero_banner",
        "product_recommendations",
        "content_blocks",
        "promotional_offers",
        "navigation_items",
    }
    assert documented <= set(read_variants())


def test_a_variant_suits_where_all_its_conditions_hold() -> None:
    hero = read_variants()["hero_banner"].variants
    known = frozenset({"history", "offer_consent"})
    assert hero["recent_product"].suits("homepage", None, None, known)
    assert not hero["top_category"].suits("homepage", None, None, known)
    assert hero["win_back_offer"].suits("homepage", "at_risk", None, known)
    assert not hero["win_back_offer"].suits("homepage", "high", None, known)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({}, "elements is missing"),
        ({"elements": {"hero": {"variants": {}}}}, "variants must name"),
        ({"elements": {"hero": {"default": "b", "variants": {"a": {}}}}}, "default='b' is none of a"),
        ({"elements": {"hero": {"default": "a", "variants": {"a": {"pages": ["x"]}}}}}, "has conditions"),
        ({"elements": {"hero": {"default": "a", "variants": {"a": {"page": 1}}}}}, "page is unknown"),
        (
            {"elements": {"hero": {"default": "a", "variants": {"a": {}, "b": {"requires": ["luck"]}}}}},
            "luck is none of",
        ),
    ],
)
def test_broken_variants_are_refused_with_the_place(document: Any, said: str) -> None:
    with pytest.raises(BrokenVariants, match=said):
        parse_variants(document, "file")


def test_a_file_that_is_no_yaml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "variants.yml"
    path.write_text("elements: [", encoding="utf-8")
    with pytest.raises(BrokenVariants, match=r"variants\.yml"):
        read_variants(path)
