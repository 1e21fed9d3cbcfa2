"""The published tables of a home, opened for reading: small ones in memory, large ones where they lie.

A publication never changes once it is named, so what was read of it stays right; a newer one is opened beside
it and takes its place.
"""

import json
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

import duckdb

from feature_repo.layout import Home
from serving.errors import NoTables
from serving.figures import Book, read_figures

# One thread, and no copies of the files beside the system's own: as quick here, and memory stays what it is.
ENGINE: dict[str, str | bool | int | float | list[str]] = {
    "threads": 1,
    "memory_limit": "512MB",
    "enable_external_file_cache": False,
}
SMALL = {
    "daily_kpis": "*",
    "metrics_daily": "*",
    "activity_gaps": "*",
    "cohorts": "*",
    "recommendations_daily": "*",
    "attribution_daily": "*",
    "campaigns_daily": "*",
    "marketing_spend": "*",
    "journeys_daily": "*",
    "items": "item_id, title, category, price, cost, stock, is_catalogued, last_sold_at",
}
"""Read whole when a publication is opened, with these columns."""
ADDED = {
    "offers_daily": "offer_type varchar, served_count bigint, viewed_count bigint, clicked_count bigint,"
    " redeemed_count bigint, responded_count bigint, expected_responses double, event_date date",
}
"""Small tables that a publication of an older version lacks, and their columns; they are empty then."""
LARGE = ("orders", "customers", "item_pairs")
ANALYSES = {
    "channel_credit": "channel varchar, removal_effect double, share double, revenue double,"
    " first_date date, last_date date",
    "campaign_effects": "event_date date, campaign_id varchar, channel varchar, treated_users bigint,"
    " held_out_users bigint, incremental_revenue double, variance double",
    "campaign_results": "campaign_id varchar, channel varchar, first_date date, last_date date,"
    " treated_users bigint, held_out_users bigint, treated_conversion double, held_out_conversion double,"
    " conversion_difference double, conversion_low double, conversion_high double,"
    " conversion_always_low double, conversion_always_high double, p_value double,"
    " incremental_revenue double, revenue_low double, revenue_high double, is_ratio_as_planned boolean",
    "campaign_uplift": "campaign_id varchar, customers bigint, effect double, effect_low double,"
    " effect_high double, qini double, qini_low double, qini_high double, is_used boolean, reason varchar",
}
"""Analyses and their columns; one that was not made yet is empty."""
PREDICTIONS = (
    "user_id varchar, clv_90d double, churn_probability double, value_segment varchar, is_earlier boolean"
)

Version = tuple[Any, ...]


def version_of(home: Home) -> Version:
    """What tells one state of the home from another; cheap enough for each request. Raises NoTables."""
    try:
        current = home.current_marts.stat()
    except FileNotFoundError:
        raise NoTables(str(home.marts)) from None
    beside = (home.prediction("user_predictions"), home.analysis("channel_credit").parent)
    return (current.st_ino, current.st_mtime_ns, *map(_changed_at, beside))


class Publication:
    """One state of the home."""

    def __init__(self, home: Home) -> None:
        """Reads the small tables; raises NoTables if there are none, or an older version made them."""
        folder = home.current_marts.resolve()
        if not (folder / "figures.json").is_file():
            raise NoTables(str(home.marts))
        connection = duckdb.connect(config=ENGINE)
        connection.execute("set timezone = 'UTC'")
        # Names come from the lists above and paths from the home: nothing of a request stands here.
        for table, columns in SMALL.items():
            connection.execute(f"create table {table} as select {columns} from {_files(_of(folder / table))}")
        for table, declared in ADDED.items():
            connection.execute(f"create table {table} ({declared})")
            if (folder / table).is_dir():
                connection.execute(f"insert into {table} by name select * from {_files(_of(folder / table))}")
        for table in LARGE:
            connection.execute(f"create view {table} as select * from {_files(_of(folder / table))}")
        for name, declared in ANALYSES.items():
            connection.execute(f"create table {name} ({declared})")
            if home.analysis(name).is_file():
                connection.execute(
                    f"insert into {name} by name select * from {_files([home.analysis(name)])}"
                )
        _read_predictions(connection, home)
        self.days_of_items = {path.stem: path for path in _of(folder / "items_daily")}
        figures = read_figures(json.loads((folder / "figures.json").read_bytes()))
        self.book = Book(connection, figures)
        until = self.book.days[1]
        if until is None:
            raise NoTables(str(home.marts))
        self.data_until = date.fromisoformat(str(until))
        self.currency = self.book.one("select mode(currency) as name from orders")["name"]

    def read_items(self, first: date, last: date) -> None:
        """Makes the days of `items_daily` in a period readable; others are not opened."""
        named = [
            path
            for name, path in self.days_of_items.items()
            if first.isoformat() <= name <= last.isoformat() or not name[:1].isdigit()
        ]
        chosen = named or list(self.days_of_items.values())[:1]
        self.book.execute(f"create or replace temp view items_daily as select * from {_files(chosen)}")


def _read_predictions(connection: duckdb.DuckDBPyConnection, home: Home) -> None:
    """The latest predictions, and those before them, so that moves between segments can be told."""
    connection.execute(f"create table predictions ({PREDICTIONS})")
    files = sorted(home.prediction("user_predictions").glob("*.parquet"))[-2:]
    for number, path in enumerate(reversed(files)):
        connection.execute(
            "insert into predictions select user_id, clv_90d, churn_probability, value_segment,"
            f" {'true' if number else 'false'} from {_files([path])}"
        )


def _of(folder: Path) -> list[Path]:
    found = sorted(folder.glob("*.parquet"))
    if not found:
        raise NoTables(str(folder.parent))
    return found


def _files(paths: Iterable[Path]) -> str:
    names = ", ".join("'" + str(path).replace("'", "''") + "'" for path in paths)
    return f"read_parquet([{names}])"


def _changed_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
