"""Which sections a homepage has, in which order, and what stands in them.

Sections are ordered by the share of this visitor's own responses (clicks, carts, orders) that each one got,
shrunk to the share that it gets from everybody, which is shrunk to the order that the shop starts with.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from serving.decisions.layout import arrange
from serving.decisions.rates import shares

RECOMMENDED, RECENT, SIMILAR, TRENDING = (
    "recommended_products",
    "recently_viewed",
    "similar_products",
    "trending",
)
# Before anybody has responded to anything: the order of the product's documents.
STARTING_SHARES = {RECOMMENDED: 0.4, RECENT: 0.25, TRENDING: 0.2, SIMILAR: 0.15}
# Responses of everybody that weigh as much as the starting order, and of one visitor as much as everybody's.
EVERYBODY_WEIGHT, VISITOR_WEIGHT = 200.0, 10.0
# What a visitor has just seen may stand in other sections too: it is a way back, not a proposal.
MAY_REPEAT = frozenset({RECENT})


def section_shares(own: Mapping[str, float], everybody: Mapping[str, float]) -> dict[str, float]:
    """Section -> expected share of this visitor's responses."""
    whole = shares(everybody, STARTING_SHARES, EVERYBODY_WEIGHT)
    return shares(own, whole, VISITOR_WEIGHT)


def ordered(names: Sequence[str], own: Mapping[str, float], everybody: Mapping[str, float]) -> list[str]:
    """Sections, the one that this visitor responds to most first."""
    expected = section_shares(own, everybody)
    return sorted(names, key=lambda name: (-expected.get(name, 0.0), name))


def decide(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The homepage. `inputs`: sections (type, title, products), own and everybody's responses by section,
    products_per_section, preferences, device.

    A product stands in one proposing section only, the first; a section without products is left out.
    """
    given = {section["type"]: section for section in inputs["sections"]}
    order = ordered(list(given), inputs["own"], inputs["everybody"])
    expected = section_shares(inputs["own"], inputs["everybody"])
    taken: set[str] = set()
    sections = []
    for name in order:
        products = [
            product
            for product in dict.fromkeys(given[name]["products"])
            if name in MAY_REPEAT or product not in taken
        ][: inputs["products_per_section"]]
        if not products:
            continue
        if name not in MAY_REPEAT:
            taken.update(products)
        sections.append(
            {
                "type": name,
                "title": given[name]["title"],
                "products": products,
                "expected_share": round(expected.get(name, 0.0), 6),
            }
        )
    return {"sections": sections, **arrange(inputs["preferences"], inputs["device"])}
