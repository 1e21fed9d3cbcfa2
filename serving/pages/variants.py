"""The variants of page elements, as data: read from YAML, checked, and unchangeable from then on.

    elements:
      hero_banner:
        default: brand_story
        variants:
          brand_story: {}
          top_category: {requires: [affinity], parameters: {source: top_category}}
          win_back: {segments: [at_risk, churned], pages: [homepage], devices: [mobile]}

Every list narrows: a variant without `segments` is for all. `parameters` go to the application as they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

VARIANTS_FILE = Path(__file__).with_name("experience_variants.yml")
CONDITIONS = ("pages", "segments", "devices", "requires")
KNOWLEDGE = ("affinity", "history", "offer_consent")
"""What a variant may require to be known or allowed."""
MAX_VARIANTS = 8


class BrokenVariants(ValueError):
    """The file of variants cannot be used; the message names the place and the remedy."""


@dataclass(frozen=True)
class Variant:
    """One form of an element, and for whom it is meant."""

    name: str
    pages: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def suits(self, page: str, segment: str | None, device: str | None, known: frozenset[str]) -> bool:
        """Whether the variant may be served here."""
        return (
            (not self.pages or page in self.pages)
            and (not self.segments or segment in self.segments)
            and (not self.devices or device in self.devices)
            and known.issuperset(self.requires)
        )


@dataclass(frozen=True)
class Element:
    """One element of a page; `default` names the variant that stands without evidence."""

    name: str
    default: str
    variants: Mapping[str, Variant]


def read_variants(path: Path = VARIANTS_FILE) -> dict[str, Element]:
    """The elements of a file, by name; raises BrokenVariants."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BrokenVariants(f"{path}: cannot be read as YAML ({' '.join(str(error).split())})") from error
    return parse_variants(document, str(path))


def parse_variants(document: Any, source: str) -> dict[str, Element]:
    """The same of a document that is read already."""
    elements = document.get("elements") if isinstance(document, dict) else None
    if not isinstance(elements, dict) or not elements:
        raise BrokenVariants(f"{source}: elements is missing; name at least one element with its variants")
    return {str(name): _element(str(name), values, f"{source}: {name}") for name, values in elements.items()}


def _element(name: str, values: Any, place: str) -> Element:
    variants = values.get("variants") if isinstance(values, dict) else None
    if not isinstance(variants, dict) or not 1 <= len(variants) <= MAX_VARIANTS:
        raise BrokenVariants(f"{place}: variants must name 1 to {MAX_VARIANTS} variants")
    unknown = set(values) - {"default", "variants"}
    if unknown:
        raise BrokenVariants(f"{place}: {sorted(map(str, unknown))[0]} is unknown; use default and variants")
    found = {str(key): _variant(str(key), value, f"{place}.{key}") for key, value in variants.items()}
    default = values.get("default")
    if default not in found:
        raise BrokenVariants(f"{place}: default={default!r} is none of {', '.join(found)}")
    if any(getattr(found[default], condition) for condition in CONDITIONS):
        raise BrokenVariants(f"{place}: the default {default} has conditions; it must suit everybody")
    return Element(name, default, found)


def _variant(name: str, values: Any, place: str) -> Variant:
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise BrokenVariants(f"{place}: must be a mapping of {', '.join((*CONDITIONS, 'parameters'))}")
    unknown = set(values) - {*CONDITIONS, "parameters"}
    if unknown:
        first = sorted(map(str, unknown))[0]
        raise BrokenVariants(f"{place}: {first} is unknown; use {', '.join((*CONDITIONS, 'parameters'))}")
    conditions: dict[str, tuple[str, ...]] = {}
    for condition in CONDITIONS:
        texts = values.get(condition, ())
        if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
            raise BrokenVariants(f"{place}.{condition}: must be a list of texts")
        conditions[condition] = tuple(texts)
    strange = set(conditions["requires"]) - set(KNOWLEDGE)
    if strange:
        raise BrokenVariants(f"{place}.requires: {sorted(strange)[0]} is none of {', '.join(KNOWLEDGE)}")
    parameters = values.get("parameters", {})
    if not isinstance(parameters, dict):
        raise BrokenVariants(f"{place}.parameters: must be a mapping")
    return Variant(name=name, parameters=parameters, **conditions)
