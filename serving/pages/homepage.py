"""The homepage and the arrangement of pages: which sections in which order, navigation, layout."""

from typing import Any

from serving.decisions import homepage, layout
from serving.decisions.receipt import KIND as RECOMMENDATIONS
from serving.pages.deciding import Desk, register
from serving.pages.experience import Assigned, nothing_assigned
from serving.pages.responses import SECTION_ACTS, Responses, by_section
from serving.pages.visitors import OPERATIONAL_STORE, Visitor
from serving.people.permissions import Signals

KIND, LAYOUT_KIND = "homepage", "layout"
TITLES = {
    homepage.RECOMMENDED: "Recommended for You",
    homepage.RECENT: "Recently Viewed",
}

register(KIND, homepage.decide)
register(LAYOUT_KIND, layout.decide)


class Homepages:
    """Homepages of one process."""

    def __init__(self, desk: Desk, responses: Responses, assigned: Assigned = nothing_assigned) -> None:
        self._desk = desk
        self._responses = responses
        self._assigned = assigned

    async def homepage(
        self, user_id: str, signals: Signals, device: str | None, products_per_section: int
    ) -> dict[str, Any]:
        """Sections in the order that this visitor responds to; the shop's own order if nothing is known."""
        desk = self._desk
        visitor = await desk.visitors.read(user_id, signals)
        picks = await desk.recommend(user_id, 2 * products_per_section, signals, KIND, RECOMMENDATIONS)
        own = await self._responses.own(user_id, SECTION_ACTS) if visitor.personalized else []
        everybody = self._responses.counts.sections
        inputs = {
            "sections": self._sections(visitor, picks["recommendations"], 2 * products_per_section),
            "own": by_section(own or ()),
            "everybody": dict(everybody),
            "products_per_section": products_per_section,
            "preferences": self._preferences(visitor, device),
            "device": device,
        }
        output, decision_id = desk.decide(KIND, user_id, inputs, homepage.decide)
        shelf = desk.shelf
        return {
            "user_id": user_id,
            **output,
            "sections": [
                {**section, "items": shelf.described(section["products"])} for section in output["sections"]
            ],
            "navigation": layout.navigation(shelf.categories(), visitor.affinity),
            "recommendation_id": picks["recommendation_id"],
            **desk.provenance(KIND, visitor, decision_id, (OPERATIONAL_STORE,) if own is None else ()),
        }

    async def arrangement(self, user_id: str, signals: Signals, device: str | None) -> dict[str, Any]:
        """Navigation, layout, theme and language."""
        desk = self._desk
        visitor = await desk.visitors.read(user_id, signals)
        inputs = {
            "categories": desk.shelf.categories(),
            "affinity": dict(visitor.affinity),
            "preferences": self._preferences(visitor, device),
            "device": device,
        }
        output, decision_id = desk.decide(LAYOUT_KIND, user_id, inputs, layout.decide)
        return {"user_id": user_id, **output, **desk.provenance(LAYOUT_KIND, visitor, decision_id)}

    def _preferences(self, visitor: Visitor, device: str | None) -> dict[str, Any]:
        """What a page's look depends on; an experiment may set the layout of who chose none."""
        found = {name: visitor.preferences.get(name) for name in ("layout", "theme", "language")}
        if found["layout"] is None:
            asked = {"page": KIND, "device_type": device}
            assigned = self._assigned(visitor.visitor_id, visitor.permissions, asked)
            found["layout"] = assigned.get("homepage.layout")
        return found

    def _sections(self, visitor: Visitor, picks: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
        """What could stand on the page, each with its products."""
        shelf = self._desk.shelf
        recommended = [item["item_id"] for item in picks]
        title = TITLES[homepage.RECOMMENDED] if visitor.personalized else "Popular Now"
        sections = [{"type": homepage.RECOMMENDED, "title": title, "products": recommended}]
        if visitor.recent_items:
            latest = visitor.recent_items[0]
            known = shelf.described([latest])[0]["title"]
            sections += [
                {
                    "type": homepage.RECENT,
                    "title": TITLES[homepage.RECENT],
                    "products": list(visitor.recent_items),
                },
                {
                    "type": homepage.SIMILAR,
                    "title": f"Because You Viewed {known}" if known else "Similar to What You Viewed",
                    "products": shelf.similar(latest, count),
                },
            ]
        category = next((name for name in visitor.affinity if shelf.trending(name, 1)), None)
        sections.append(
            {
                "type": homepage.TRENDING,
                "title": f"Trending in {category}" if category else "Trending Now",
                "products": shelf.trending(category, count),
            }
        )
        return sections
