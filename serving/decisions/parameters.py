"""The parameters that an experiment may set: which decisions read them, and which values they take.

Keys are `<decision>.<name>`. Keys that begin with `app.` belong to the shop's application, which reads them
in the answer of `GET /api/v1/ab-test/{user_id}/variant`; any small JSON value will do there. Every other key
must stand here, so that an experiment that nothing reads is refused instead of measured.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from serving.decisions.layout import LAYOUTS

FREE_PREFIX = "app."
EXPERIENCE_PREFIX = "experience."
"""`experience.<element>` names the variant of a page's element (`serving/pages/experience_variants.yml`)."""
ALGORITHM_SPELLINGS: Mapping[str, str] = {
    "collaborative_filtering": "collaborative",
    "content_based": "content",
    "content_based_enhanced": "content",
    "hybrid_neural": "hybrid",
    "trending": "popular",
}
WEIGHED = ("collaborative", "content", "hybrid")
ALGORITHMS = ("blend", *WEIGHED, "popular")
EXPERIENCE_EXAMPLES: Mapping[str, str] = {
    "hero_banner": "top_category",
    "product_recommendations": "continue_shopping",
    "content_blocks": "by_interest",
    "promotional_offers": "category_bonus",
    "navigation_items": "by_affinity",
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One key: what it means, what it accepts, an example."""

    meaning: str
    allowed: str
    accepts: Callable[[Any], bool]
    example: Any


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_share(value: object) -> bool:
    return _is_number(value) and 0 <= value <= 1  # type: ignore[operator]


def _are_weights(value: object) -> bool:
    if not isinstance(value, dict) or not value:
        return False
    return set(value) <= set(WEIGHED) and all(_is_number(each) and 0 <= each <= 1 for each in value.values())


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 64


def _one_of(*names: str) -> Callable[[Any], bool]:
    return lambda value: value in names


PARAMETERS: Mapping[str, Parameter] = {
    "recommendations.algorithm": Parameter(
        "which candidates recommendations are made of",
        f"one of {', '.join(ALGORITHMS)}",
        _one_of(*ALGORITHMS),
        "collaborative",
    ),
    "recommendations.weights": Parameter(
        "how much each algorithm counts in the blend",
        f"an object of numbers from 0 to 1 by {', '.join(WEIGHED)}",
        _are_weights,
        {"collaborative": 0.3, "content": 0.3, "hybrid": 0.4},
    ),
    "recommendations.exploration": Parameter(
        "share of places that are given to less known items", "a number from 0 to 1", _is_share, 0.1
    ),
    **{
        f"experience.{element}": Parameter(
            f"which variant of {element} an experience shows",
            "the name of a variant of experience_variants.yml",
            _is_name,
            example,
        )
        for element, example in EXPERIENCE_EXAMPLES.items()
    },
    "homepage.layout": Parameter(
        "how the sections of the homepage are laid out",
        f"one of {', '.join(LAYOUTS)}",
        _one_of(*LAYOUTS),
        "list",
    ),
}


def canonical_value(key: str, value: Any) -> Any:
    """The value in our spelling; `hybrid_neural` and the like are the documents' names."""
    if key == "recommendations.algorithm" and isinstance(value, str):
        return ALGORITHM_SPELLINGS.get(value, value)
    if key == "recommendations.weights" and isinstance(value, dict):
        return {ALGORITHM_SPELLINGS.get(str(name), str(name)): weight for name, weight in value.items()}
    return value


def problem_of(key: str, value: Any) -> str | None:
    """Why a parameter cannot be used, or None."""
    if key.startswith(FREE_PREFIX):
        return None
    if key.startswith(EXPERIENCE_PREFIX):
        is_name = isinstance(value, str) and 0 < len(value) <= 64
        return None if is_name else f"{key}={value!r} cannot be used: give the name of a variant"
    known = PARAMETERS.get(key)
    if known is None:
        return f"{key} is read by no decision; use one of {', '.join(PARAMETERS)}, or {FREE_PREFIX}<name>"
    return None if known.accepts(value) else f"{key}={value!r} cannot be used: give {known.allowed}"
