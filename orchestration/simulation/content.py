"""Editorial content: articles, videos and customers' pictures about the leaves of the catalogue; its readers.

A piece is read during visits, beside a look at an item of its leaf: so reading follows taste, makes nobody
active who was not, and adds about one event to forty.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.simulation.calendar import Calendar, Floats, Ints
from orchestration.simulation.catalogue import STYLES, Catalogue
from orchestration.simulation.happenings import KIND, Happenings, happenings, joined

KIND_NAMES = ("article", "video", "user_content")
KIND_SHARES = (0.5, 0.2, 0.3)
PIECES_PER_LEAF = 12
READ_SHARE, LIKE_SHARE = 0.04, 0.12
READ_AFTER_SECONDS = 4.0
TITLES = (
    ("How to choose {leaf}", "{leaf} for every home", "What is new in {leaf}", "A guide to {style} {leaf}"),
    ("{leaf} in two minutes", "Watch: {style} {leaf}"),
    ("My {style} {leaf}", "{leaf}, seen by a customer"),
)
AUTHORS = ("Mara", "Jon", "Inês", "Tom", "Aiko", "Lea")


@dataclass(frozen=True)
class Content:
    """One entry per piece in every array; ``published`` in days since the start (negative: before)."""

    kind: Ints
    leaf: Ints
    top: Ints
    item: Ints
    style: Ints
    published: Floats
    popularity: Floats
    season_month: Ints

    @property
    def count(self) -> int:
        return len(self.kind)

    def ids(self) -> list[str]:
        return [f"c{number:05d}" for number in range(self.count)]


def draw_content(rng: np.random.Generator, catalogue: Catalogue, days: int) -> Content:
    """About a dozen pieces for each leaf; a third of them made for a time of the year."""
    leaves = len(catalogue.leaf_names)
    leaf = np.repeat(np.arange(leaves), PIECES_PER_LEAF)
    count = len(leaf)
    top_of = np.zeros(leaves, dtype=np.int64)
    top_of[catalogue.leaf] = catalogue.top
    by_leaf = [np.flatnonzero(catalogue.leaf == number) for number in range(leaves)]
    own = [
        rng.choice(mine, PIECES_PER_LEAF) if len(mine) else np.full(PIECES_PER_LEAF, -1) for mine in by_leaf
    ]
    item = np.concatenate(own)
    kind = rng.choice(len(KIND_NAMES), size=count, p=KIND_SHARES)
    return Content(
        kind=kind,
        leaf=leaf,
        top=top_of[leaf],
        item=np.where(kind == 2, item, -1),
        style=rng.integers(len(STYLES), size=count),
        published=np.where(
            rng.random(count) < 0.6, -rng.uniform(1, 400, count), rng.uniform(0, max(1, days - 1), count)
        ),
        popularity=np.round(rng.beta(2, 4, size=count), 3),
        season_month=np.where(rng.random(count) < 0.35, rng.integers(1, 13, size=count), 0),
    )


def draw_reads(
    rng: np.random.Generator, catalogue: Catalogue, content: Content, visited: Happenings, first: int
) -> Happenings:
    """Views and likes of pieces that were there on the day ``first``, beside looks at items of their leaf."""
    looks = visited.select(visited.kind == KIND["product_view"])
    reading = looks.select(rng.random(looks.count) < READ_SHARE)
    is_there = content.published < first
    weight = np.where(is_there, 0.05 + content.popularity, 0.0)
    cumulated = np.cumsum(weight)
    before = np.concatenate([[0.0], cumulated])
    leaves = len(catalogue.leaf_names)
    begin = before[np.searchsorted(content.leaf, np.arange(leaves), side="left")]
    end = before[np.searchsorted(content.leaf, np.arange(leaves), side="right")]
    leaf = catalogue.leaf[reading.item]
    has_some = end[leaf] > begin[leaf]
    reading, leaf = reading.select(has_some), leaf[has_some]
    place = begin[leaf] + rng.random(len(leaf)) * (end[leaf] - begin[leaf])
    piece = np.minimum(np.searchsorted(cumulated, place, side="right"), content.count - 1)
    columns = {"session": reading.session, "channel": reading.channel, "device": reading.device}
    at = reading.at + READ_AFTER_SECONDS / 86_400.0
    views = happenings("content_view", at, reading.user, content=piece, **columns)
    likes = views.select((rng.random(views.count) < LIKE_SHARE) & (views.user >= 0))
    liked = happenings(
        "like",
        likes.at + READ_AFTER_SECONDS / 86_400.0,
        likes.user,
        content=likes.content,
        session=likes.session,
        channel=likes.channel,
        device=likes.device,
    )
    return joined([views, liked])


def write_content(path: Path, calendar: Calendar, catalogue: Catalogue, content: Content) -> None:
    """The pieces as the shop's editors export them at the end."""
    kinds, titles, tags, urls = [], [], [], []
    for number in range(content.count):
        leaf = catalogue.leaf_names[content.leaf[number]]
        style = STYLES[content.style[number]]
        kind = int(content.kind[number])
        forms = TITLES[kind]
        kinds.append(KIND_NAMES[kind])
        titles.append(forms[number % len(forms)].format(leaf=leaf.lower(), style=style).capitalize())
        tags.append(f"{leaf}, {style}")
        urls.append(f"/content/{number:05d}")
    table = pa.table(
        {
            "content_id": content.ids(),
            "kind": kinds,
            "title": titles,
            "category": [catalogue.top_names[top] for top in content.top],
            "tags": tags,
            "published_at": pa.array(calendar.to_micros(content.published)).cast(
                pa.timestamp("us", tz="UTC")
            ),
            "popularity": content.popularity,
            "season_month": pa.array(content.season_month, mask=content.season_month == 0),
            "item_id": pa.array(catalogue.ids()).take(
                pa.array(np.maximum(content.item, 0), mask=content.item < 0)
            ),
            "author": [AUTHORS[number % len(AUTHORS)] for number in range(content.count)],
            "url": urls,
        }
    )
    pq.write_table(table.filter(pa.array(content.published < calendar.days)), path)
