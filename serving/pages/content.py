"""Articles, videos, customers' content and social proof for somebody, from the release's content tables."""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from feature_repo.content import split_tags
from serving.decisions import content
from serving.decisions.rates import shares
from serving.pages.deciding import Desk, register
from serving.pages.responses import CONTENT_ACTS, Responses
from serving.pages.visitors import OPERATIONAL_STORE, Visitor
from serving.people.permissions import Signals
from serving.releases import ServedRelease
from serving.store.responses import Act

KIND = "content"
CONTENT_TABLE, PROOF_TABLE = "content", "social_proof"
PROOF_DAYS = 30
# Pieces of a kind that are looked at in a request: the most looked at, beyond this nobody would see them.
MOST_PIECES = 400
SHORTLIST = 5
KIND_WEIGHT = 10.0

register(KIND, content.decide)


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece as a request scores it: what does not depend on the visitor is there already."""

    content_id: str
    category: str | None
    names: tuple[str, ...]
    liked: float
    season: float
    trend: float


@dataclass(frozen=True)
class Pieces:
    """A release's content by kind, the most looked at first, and what is counted about its goods."""

    release_id: str
    by_kind: Mapping[str, list[Piece]]
    by_id: Mapping[str, dict[str, Any]]
    proof: Mapping[str, dict[str, Any]]
    kind_shares: Mapping[str, float]


def read_pieces(release: ServedRelease) -> Pieces:
    """From the tables of a release; empty where it has none."""
    tables = release.release.tables
    rows = tables[CONTENT_TABLE].to_pylist() if CONTENT_TABLE in tables else []
    for row in rows:
        row["tags"] = split_tags(row["tags"])
    rows.sort(key=lambda row: (-row["views"], -(row["popularity"] or 0.0), row["content_id"]))
    most_recent_views = max((row["recent_views"] for row in rows), default=0)
    month = release.data_until.month
    by_kind: dict[str, list[Piece]] = {}
    views: dict[str, float] = {}
    for row in rows:
        piece = Piece(
            content_id=row["content_id"],
            category=row["category"],
            names=tuple(name for name in (row["category"], *row["tags"]) if name is not None),
            liked=content.liking(row["views"], row["likes"]),
            season=round(content.season(month, row["season_month"]), 6),
            trend=round(content.trend(row["recent_views"], most_recent_views), 6),
        )
        by_kind.setdefault(row["kind"], []).append(piece)
        views[row["kind"]] = views.get(row["kind"], 1.0) + row["views"]
    proof = tables[PROOF_TABLE].to_pylist() if PROOF_TABLE in tables else []
    return Pieces(
        release_id=release.release_id,
        by_kind={kind: found[:MOST_PIECES] for kind, found in by_kind.items()},
        by_id={row["content_id"]: row for row in rows},
        proof={fact["item_id"]: fact for fact in proof},
        kind_shares=views,
    )


class Contents:
    """Content of one process. Its tables are prepared once a release, when a request first needs them."""

    def __init__(self, desk: Desk, responses: Responses) -> None:
        self._desk = desk
        self._responses = responses
        self._pieces: Pieces | None = None

    @property
    def pieces(self) -> Pieces:
        """The present release's content."""
        release = self._desk.release
        if self._pieces is None or self._pieces.release_id != release.release_id:
            self._pieces = read_pieces(release)
        return self._pieces

    async def content(
        self, user_id: str, signals: Signals, counts: Mapping[str, int], weights: Mapping[str, float]
    ) -> dict[str, Any]:
        """Blocks of content: for each its pieces, best first, with the factor that spoke most for it."""
        visitor = await self._desk.visitors.read(user_id, signals)
        output, decision_id, degraded = await self.choose(visitor, counts, weights)
        blocks = {name: self.described(found) for name, found in output["blocks"].items()}
        return {
            "user_id": user_id,
            "content": blocks,
            "personalization_factors": content.normalised(weights),
            **self._desk.provenance(KIND, visitor, decision_id, degraded),
        }

    async def choose(
        self, visitor: Visitor, counts: Mapping[str, int], weights: Mapping[str, float]
    ) -> tuple[dict[str, Any], str, tuple[str, ...]]:
        """The decision, its receipt, and what was degraded."""
        read = await self._responses.own(visitor.visitor_id, CONTENT_ACTS) if visitor.personalized else []
        inputs = {
            "counts": dict(counts),
            "weights": content.normalised(weights),
            "pieces": {
                block: self._shortlist(block, counts[block], visitor, read or [])
                for block in counts
                if block in content.KIND_OF_BLOCK
            },
            "proof": self.proof(visitor) if content.SOCIAL_PROOF in counts else [],
        }
        output, decision_id = self._desk.decide(KIND, visitor.visitor_id, inputs, content.decide)
        return output, decision_id, (OPERATIONAL_STORE,) if read is None else ()

    def proof(self, visitor: Visitor | None, item_ids: list[str] | None = None) -> list[dict[str, Any]]:
        """What is counted about goods that the visitor may care for, or about these goods."""
        shelf, pieces = self._desk.shelf, self.pieces
        affinity = visitor.affinity if visitor is not None else {}
        if item_ids is None:
            candidates = list(visitor.candidates[:30]) if visitor is not None else []
            category = next(iter(affinity), None)
            item_ids = [*candidates, *shelf.trending(category, 20), *shelf.popular(20)]
        best = max(affinity.values(), default=0.0)
        found = []
        for item_id in dict.fromkeys(item_ids):
            fact = pieces.proof.get(item_id)
            if fact is None:
                continue
            liking = affinity.get(shelf.goods(item_id).category or "", 0.0) / best if best > 0 else 0.0
            found.append({**fact, "days": PROOF_DAYS, "affinity": round(liking, 6)})
        return found

    def described(self, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Chosen pieces as answers show them: with their titles, or with the item that a fact is about."""
        shelf = self._desk.shelf
        shown = []
        for each in found:
            if "content_id" in each:
                piece = self.pieces.by_id[each["content_id"]]
                about = {name: piece[name] for name in ("title", "category", "url", "author", "item_id")}
                shown.append({**each, **about, "tags": piece["tags"], "published_at": _text(piece)})
            else:
                shown.append({**each, **shelf.described([each["item_id"]])[0]})
        return shown

    def _shortlist(self, block: str, count: int, visitor: Visitor, read: list[Act]) -> list[dict[str, Any]]:
        """Pieces of a block with their factors: the best few, from which the weights choose."""
        pieces, kind = self.pieces, content.KIND_OF_BLOCK[block]
        seen = {str(act.context.get("content_id")) for act in read}
        counts: dict[str, float] = {}
        for act in read:
            name = str(act.context.get("kind"))
            counts[name] = counts.get(name, 0.0) + 1.0
        kind_share = shares(counts, pieces.kind_shares, KIND_WEIGHT).get(kind, 0.0)
        found = []
        for piece in pieces.by_kind.get(kind, ()):
            interest = content.interest(piece.names, visitor.affinity)
            engagement = content.engagement(piece.liked, kind_share)
            total = interest + engagement + piece.season + piece.trend
            found.append((-total, piece.content_id, piece, interest, engagement))
        fresh = [each for each in found if each[1] not in seen]
        best = heapq.nsmallest(SHORTLIST * max(1, count), fresh if len(fresh) >= count else found)
        return [
            {
                "content_id": piece.content_id,
                "category": piece.category,
                "factors": {
                    "interest_alignment": round(interest, 6),
                    "engagement_history": round(engagement, 6),
                    "seasonal_relevance": piece.season,
                    "trending_score": piece.trend,
                },
            }
            for _, _, piece, interest, engagement in best
        ]


def _text(piece: Mapping[str, Any]) -> str | None:
    at = piece["published_at"]
    return at.isoformat() if isinstance(at, datetime) else None
