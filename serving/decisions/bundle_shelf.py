"""The mined bundles of one release, looked up by item: the table `bundles` that training.bundles writes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import pyarrow as pa

BUNDLES = "bundles"
OFFER = (
    "list_price",
    "discount",
    "cost",
    "counted_cost",
    "anchor_margin",
    "rest_price",
    "attach",
    "elasticity",
    "is_cost_assumed",
)
"""What a price is decided from."""

EVIDENCE = (
    "basket",
    "basket_count",
    "anchor_count",
    "expected_count",
    "lift",
    "support",
    "q_value",
    "buyer_count",
    "first_date",
    "last_date",
    "season_months",
    "season_lift",
    "season_q_value",
    "moved_count",
    "moved_expected",
    "moved_q_value",
    "stock_cover_days",
    "sales_ratio",
    "elasticity_source",
)
"""What a bundle rests on; what its kind does not have is left out."""


@dataclass(frozen=True)
class BundleShelf:
    """`rows` are candidates as `serving.decisions.bundles.decide` takes them, but for `item_ids` in the place
    of `items` and without `affinity`. `evidence`: by the bundle's key.

    `by_item`: numbers of the rows that hold an item, or that stand instead of it. `earning`: numbers of those
    to show to anybody, types taking turns, of each the ones that the table has first: those that earn most.
    """

    rows: Sequence[Mapping[str, Any]]
    by_item: Mapping[str, Sequence[int]]
    earning: Sequence[int]
    evidence: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, table: pa.Table | None) -> "BundleShelf":
        """From a release's table; empty where the release has none."""
        found = table.to_pylist() if table is not None else []
        rows = [_candidate(row) for row in found]
        evidence = {row["bundle_key"]: _evidence(row) for row in found}
        by_item: dict[str, list[int]] = {}
        by_type: dict[str, list[int]] = {}
        for number, row in enumerate(rows):
            by_type.setdefault(row["bundle_type"], []).append(number)
            names = [*row["item_ids"], row["instead_of"]]
            for name in dict.fromkeys(name for name in names if name is not None):
                by_item.setdefault(name, []).append(number)
        turns = zip_longest(*by_type.values())
        earning = [number for turn in turns for number in turn if number is not None]
        return cls(rows, by_item, earning, evidence)

    def around(self, item_ids: Iterable[str]) -> list[int]:
        """Rows that hold one of these items, each once."""
        found = (number for item_id in item_ids for number in self.by_item.get(item_id, ()))
        return list(dict.fromkeys(found))


def _candidate(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "bundle_key": row["bundle_key"],
        "bundle_type": row["bundle_type"],
        "item_ids": list(row["items"]),
        "instead_of": row["instead_of"],
        "support": row["support"],
        "lift": row["lift"],
        "offer": {name: row[name] for name in OFFER},
    }


def _evidence(row: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {name: row[name] for name in EVIDENCE if row.get(name) is not None}
    for name, value in found.items():
        if name.endswith("_date"):
            found[name] = value.isoformat()
        elif isinstance(value, float):
            found[name] = float(f"{value:.6g}")
    return found
