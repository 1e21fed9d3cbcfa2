"""How an explained list reads."""

from orchestration.explaining import REASONS, Explained
from training.explanations import Explanation

TITLES = {"a": "Mug", "b": None}


def explained(*items: Explanation) -> str:
    return Explained("anna", "3", items, TITLES).summary()


def test_an_item_is_told_with_its_sources_best_place_first_and_titles_where_there_are_some() -> None:
    one = Explanation("a", {"ease": 4, "als": 1}, {"ease": {"b": 0.5, "a": -0.25}}, {}, 0.0, None)
    assert explained(one).splitlines() == [
        "anna by collaborative version 3, with the data of now",
        "1. a Mug",
        "   proposed by als (place 1), ease (place 4)",
        "   ease: +0.5 b, -0.25 a Mug",
    ]


def test_what_orders_the_item_is_told_by_its_largest_parts_and_the_sum() -> None:
    parts = {f"feature_{number}": 1.0 / number for number in range(1, REASONS + 3)}
    told = explained(Explanation("b", {}, {}, parts, 0.5, 2.75)).splitlines()[-1]
    assert told == "   order: +1 feature_1, +0.5 feature_2, +0.333 feature_3; in all 2.75"
