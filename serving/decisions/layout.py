"""How a page is arranged for somebody: order of the categories, layout, theme, language."""

from collections.abc import Mapping, Sequence
from typing import Any

LAYOUTS = ("grid", "list", "carousel")
DEFAULT_LAYOUT = "grid"
DEFAULT_THEME, DEFAULT_LANGUAGE = "light", "en"
# What the visitor did in this session says more about now than what they did on their last active day.
LIVE_WEIGHT = 2.0
RECENCY_WEIGHT = 0.9


def category_affinity(batch: Sequence[str], live: Sequence[str]) -> dict[str, float]:
    """Category -> share of the visitor's interest, best first; both sequences are latest first."""
    weights: dict[str, float] = {}
    for names, weight in ((live, LIVE_WEIGHT), (batch, 1.0)):
        for age, name in enumerate(names):
            weights[name] = weights.get(name, 0.0) + weight * RECENCY_WEIGHT**age
    total = sum(weights.values())
    ordered = sorted(weights.items(), key=lambda pair: (-pair[1], pair[0]))
    return {name: round(weight / total, 6) for name, weight in ordered}


def navigation(categories: Sequence[str], affinity: Mapping[str, float]) -> list[str]:
    """All categories, those of interest first; the others stay as the shop has them."""
    known = {name: place for place, name in enumerate(categories)}
    return sorted(known, key=lambda name: (-affinity.get(name, 0.0), known[name]))


def arrange(preferences: Mapping[str, Any], device: str | None) -> dict[str, str]:
    """Layout, theme and language: the visitor's own choice, then what suits the device, then the default."""
    layout = preferences.get("layout")
    if layout not in LAYOUTS:
        layout = "list" if device == "mobile" else DEFAULT_LAYOUT
    return {
        "layout": str(layout),
        "theme": str(preferences.get("theme") or DEFAULT_THEME),
        "language": str(preferences.get("language") or DEFAULT_LANGUAGE),
    }


def decide(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Navigation and layout. `inputs`: categories, affinity, preferences, device."""
    affinity = inputs["affinity"]
    return {
        "navigation": [
            {"category": name, "affinity": affinity.get(name, 0.0)}
            for name in navigation(inputs["categories"], affinity)
        ],
        **arrange(inputs["preferences"], inputs["device"]),
    }
