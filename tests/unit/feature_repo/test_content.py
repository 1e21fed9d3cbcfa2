"""The contract of content: kinds in any spelling, whole rows or a reason."""

from typing import Any

import pandas as pd
import pytest

from feature_repo.content import CONTENT_SCHEMA, canonical_content_kind, split_tags
from feature_repo.validation import REASONS, Validated, validate_content


def validated(**fields: Any) -> Validated:
    return validate_content(pd.DataFrame([{"content_id": "c1", "kind": "article"} | fields]))


def test_a_piece_that_keeps_the_contract_is_of_its_schema() -> None:
    found = validated(kind="Blog Post", tags="a, b", published_at="2024-05-01T10:00:00Z", season_month=5)
    assert found.valid.schema.equals(CONTENT_SCHEMA)
    [row] = found.valid.to_pylist()
    assert (row["kind"], row["season_month"], row["item_id"]) == ("article", 5, None)
    assert len(found.rejected) == 0


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"content_id": None}, "missing_content_id"),
        ({"kind": "song"}, "unknown_kind"),
        ({"kind": None}, "unknown_kind"),
        ({"popularity": 1.5}, "bad_popularity"),
        ({"popularity": "much"}, "bad_popularity"),
        ({"season_month": 13}, "bad_season_month"),
        ({"published_at": "soon"}, "bad_published_at"),
        ({"attributes": "{"}, "bad_attributes"),
    ],
)
def test_each_broken_rule_is_its_own_reason(fields: dict[str, Any], reason: str) -> None:
    found = validated(**fields)
    assert found.valid.num_rows == 0
    assert found.rejected["reason"].tolist() == [reason]
    assert reason in REASONS


def test_of_one_id_the_last_row_wins() -> None:
    rows = [{"content_id": "c1", "kind": "video", "title": title} for title in ("old", "new")]
    found = validate_content(pd.DataFrame(rows))
    assert found.valid["title"].to_pylist() == ["new"]
    assert found.rejected["reason"].tolist() == ["duplicate"]


def test_kinds_have_aliases_and_tags_are_split_once() -> None:
    assert canonical_content_kind("userGeneratedContent") == "user_content"
    assert canonical_content_kind("poem") is None
    assert split_tags(" a, b,,a ") == ["a", "b"]
    assert split_tags(None) == []
