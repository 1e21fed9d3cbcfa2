"""How popular a customer's items are, counted by hand."""

from datetime import UTC, date, datetime, timedelta
from math import log
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training.errors import MissingMart
from training.item_popularity import WINDOW_DAYS, item_popularity

CUTOFF = datetime(2024, 6, 1, tzinfo=UTC)
BOUGHT = [
    # user, item, days before the cut-off, lines
    ("ann", "lamp", 1, 1),
    ("ann", "lamp", 9, 3),
    ("ann", "vase", 9, 1),
    ("bob", "lamp", 20, 1),
    ("eve", "vase", WINDOW_DAYS + 1, 1),
    ("eve", "rug", WINDOW_DAYS + 1, 1),
    ("ida", "rug", 3, 0),
    ("new", "lamp", 0, 1),
]


@pytest.fixture
def mart(tmp_path: Path) -> str:
    days = [CUTOFF.date() - timedelta(days=row[2]) for row in BOUGHT]
    table = pa.table(
        {
            "user_id": [row[0] for row in BOUGHT],
            "item_id": [row[1] for row in BOUGHT],
            "event_date": pa.array(days, pa.date32()),
            "purchase_count": [row[3] for row in BOUGHT],
        }
    )
    pq.write_table(table, tmp_path / "all.parquet")
    return str(tmp_path / "*.parquet")


def test_the_mean_over_items_and_days_less_that_of_all(mart: str) -> None:
    """Before the cut-off two bought lamps and one a vase in the window, nobody a rug."""
    lamp, vase, rug = log(3), log(2), 0.0
    everybody = (3 * lamp + 2 * vase + rug) / 6
    found = item_popularity(mart, [CUTOFF]).set_index("user_id")["item_popularity"].to_dict()
    assert found == pytest.approx(
        {
            "ann": (2 * lamp + vase) / 3 - everybody,
            "bob": lamp - everybody,
            "eve": (vase + rug) / 2 - everybody,
        },
        abs=1e-6,
    )


def test_each_cutoff_knows_only_the_days_before_it(mart: str) -> None:
    later = CUTOFF + timedelta(days=1)
    both = item_popularity(mart, [later, CUTOFF])
    assert set(both.loc[both["cutoff"] == later, "user_id"]) == {"ann", "bob", "eve", "new"}
    alone = item_popularity(mart, [CUTOFF]).set_index("user_id")["item_popularity"]
    among = both[both["cutoff"] == CUTOFF].set_index("user_id")["item_popularity"]
    assert among.to_dict() == alone.to_dict()


def test_nobody_bought_before(mart: str) -> None:
    assert item_popularity(mart, [datetime.combine(date(2020, 1, 1), CUTOFF.time(), UTC)]).empty


def test_without_the_mart_the_error_names_it(tmp_path: Path) -> None:
    with pytest.raises(MissingMart, match="interactions_daily"):
        item_popularity(str(tmp_path / "*.parquet"), [CUTOFF])
