"""The contract of editorial content: articles, videos and what customers made, as the shop publishes them.

One row is one piece. It is read like items and customers: a source may offer it, landing keeps the newest
description of each piece. `feature_repo.validation.validate_content` turns raw frames into this schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import pyarrow as pa

from feature_repo.events import INSTANT, fold

CONTENT_SCHEMA = pa.schema(
    [
        pa.field("content_id", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("title", pa.string()),
        pa.field("category", pa.string()),
        pa.field("tags", pa.string()),
        pa.field("published_at", INSTANT),
        pa.field("popularity", pa.float64()),
        pa.field("season_month", pa.int64()),
        pa.field("item_id", pa.string()),
        pa.field("author", pa.string()),
        pa.field("url", pa.string()),
        pa.field("attributes", pa.string()),
    ]
)
"""One row per piece. ``category`` is a top-level category of the catalogue, ``tags`` are separated by commas,
``popularity`` (0 to 1) is the editors' own judgement, ``season_month`` (1 to 12) the month for which it was
made, ``item_id`` the item that it is about, ``author`` a name to show (never a customer's id). All but id and
kind may be null. ``attributes`` is a JSON object."""

CONTENT_KINDS = ("article", "video", "user_content")
KIND_ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "blog": "article",
        "blog_article": "article",
        "blog_articles": "article",
        "blog_post": "article",
        "guide": "article",
        "news": "article",
        "post": "article",
        "clip": "video",
        "video_content": "video",
        "customer_photo": "user_content",
        "customer_story": "user_content",
        "photo": "user_content",
        "ugc": "user_content",
        "user_generated_content": "user_content",
    }
)


def canonical_content_kind(text: str) -> str | None:
    """The kind's canonical name, or None for a kind that the contract does not know."""
    name = fold(text)
    name = KIND_ALIASES.get(name, name)
    return name if name in CONTENT_KINDS else None


def split_tags(text: str | None) -> list[str]:
    """The tags of one piece, without blanks and repetitions."""
    return list(dict.fromkeys(tag.strip() for tag in (text or "").split(",") if tag.strip()))
