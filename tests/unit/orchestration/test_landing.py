"""Landing: days are replaced whole, nothing is lost, a kill at any point is repaired by running again."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_repo.erasure import Erased, subject_hash
from feature_repo.events import EVENT_SCHEMA
from feature_repo.layout import Home
from orchestration.errors import LandingError
from orchestration.landed import content_hash, landed_days, landing_summary, quarantine_reasons
from orchestration.landing import Keeping, land_days
from orchestration.parquet_files import write_atomically
from tests.factories import ListSource, purchase, view

FIRST, SECOND, THIRD = date(2025, 3, 1), date(2025, 3, 2), date(2025, 3, 3)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def two_days() -> ListSource:
    return ListSource(
        rows=[
            view("b", "2025-03-01T11:00:00Z"),
            view("a", "2025-03-01T10:00:00Z"),
            view("a", "2025-03-01T10:00:00Z", received_at="2025-03-02T10:00:00Z"),
            purchase("c", "2025-03-02T10:00:00Z"),
            purchase("bad", "2025-03-02T10:00:00Z", price="free"),
        ],
        item_rows=[{"item_id": "i1", "title": "Lamp", "price": 10.0, "first_seen_at": "2025-01-01"}],
        customer_rows=[{"user_id": "u1", "created_at": "2025-02-01", "location": "PT"}],
    )


def events_of(home: Home, day: date) -> pa.Table:
    return pq.ParquetFile(home.events / f"event_date={day}" / "list.parquet").read()


def everything(home: Home) -> dict[str, list[dict[str, Any]]]:
    """All landed rows by file."""
    return {
        str(path.relative_to(home.landing)): pq.ParquetFile(path).read().to_pylist()
        for path in sorted(home.landing.rglob("*.parquet"))
    }


def test_days_land_sorted_with_their_counts_in_the_metadata(home: Home) -> None:
    report = land_days(home, two_days())
    assert [(d.day, d.rows, d.quarantined, d.duplicates, d.changed) for d in report.days] == [
        (FIRST, 2, 0, 1, True),
        (SECOND, 1, 1, 0, True),
    ]
    table = events_of(home, FIRST)
    assert table["event_id"].to_pylist() == ["a", "b"]
    assert table.schema.equals(EVENT_SCHEMA)
    metadata = table.schema.metadata
    assert metadata[b"attune.rows"] == b"2"
    assert metadata[b"attune.duplicates"] == b"1"
    assert metadata[b"attune.source"] == b"list"
    assert landed_days(home)[FIRST] == metadata[b"attune.content_hash"].decode()


def test_quarantined_rows_keep_reason_detail_and_raw_form(home: Home) -> None:
    land_days(home, two_days())
    row = everything(home)["quarantine/event_date=2025-03-02/list.parquet"][0]
    assert (row["source"], row["reason"], row["event_id"]) == ("list", "bad_price", "bad")
    assert '"price": "free"' in row["raw"]
    assert quarantine_reasons(home) == {"bad_price": 1, "duplicate": 1}


def test_landing_again_touches_no_file(home: Home) -> None:
    land_days(home, two_days())
    before = {path: path.stat().st_mtime_ns for path in home.landing.rglob("*.parquet")}
    report = land_days(home, two_days())
    assert report.changed_days == []
    assert {path: path.stat().st_mtime_ns for path in home.landing.rglob("*.parquet")} == before


def test_a_late_event_changes_its_own_day_only(home: Home) -> None:
    source = two_days()
    land_days(home, source)
    source.rows.append(view("late", "2025-03-01T12:00:00Z", received_at="2025-03-04T12:00:00Z"))
    assert land_days(home, source).changed_days == [FIRST]
    assert events_of(home, FIRST)["event_id"].to_pylist() == ["a", "b", "late"]


def test_a_repeated_row_is_counted_but_does_not_change_the_day(home: Home) -> None:
    source = two_days()
    land_days(home, source)
    source.rows.append(view("b", "2025-03-01T11:00:00Z", received_at="2025-03-03T11:00:00Z"))
    report = land_days(home, source)
    assert report.changed_days == []
    assert landing_summary(home).duplicates == report.duplicates == 2


def test_a_window_lands_only_its_days(home: Home) -> None:
    report = land_days(home, two_days(), [SECOND])
    assert [day.day for day in report.days] == [SECOND]
    assert list(landed_days(home)) == [SECOND]


def test_an_empty_day_is_reported_and_loses_nothing(home: Home) -> None:
    land_days(home, two_days())
    source = two_days()
    source.rows = [row for row in source.rows if row["event_at"] < "2025-03-02"]
    report = land_days(home, source, [FIRST, SECOND, THIRD])
    assert report.empty_days == [SECOND, THIRD]
    assert report.changed_days == []
    assert report.warnings == [
        "list has no rows for 2 of the days asked for (2025-03-02 to 2025-03-03); "
        "1 of them were landed before and are kept"
    ]
    assert events_of(home, SECOND).num_rows == 1
    assert THIRD not in landed_days(home)


def test_a_day_of_only_bad_rows_lands_empty_with_its_quarantine(home: Home) -> None:
    report = land_days(home, ListSource([view("x", channel="nowhere")]))
    assert [(d.rows, d.quarantined, d.empty) for d in report.days] == [(0, 1, False)]
    assert landing_summary(home).quarantined == 1


def test_rows_of_unknown_days_are_kept_once_however_often_they_come(home: Home) -> None:
    source = ListSource([view("x", "nonsense"), view("y", "nonsense"), view("z")])
    for _ in range(2):
        assert land_days(home, source).undated == 2
    other = ListSource([view("w", "nonsense")], name="other")
    assert land_days(home, other).undated == 1
    assert landing_summary(home).undated == 3
    assert landing_summary(home).reasons == {"bad_event_at": 3}


def test_rows_that_arrive_without_an_own_day_are_quarantined_with_their_arrival(home: Home) -> None:
    land_days(home, ListSource([view("x", "nonsense", received_at="2025-03-02T00:00:00Z")]))
    assert list(everything(home)) == [
        "customers.parquet",
        "events/event_date=2025-03-02/list.parquet",
        "items.parquet",
        "quarantine/event_date=2025-03-02/list.parquet",
    ]


def test_corrected_rows_leave_the_quarantine(home: Home) -> None:
    source = two_days()
    land_days(home, source)
    source.rows[-1]["price"] = 5.0
    assert land_days(home, source).changed_days == [SECOND]
    assert quarantine_reasons(home) == {"duplicate": 1}


def test_items_and_customers_are_upserted_and_the_newest_wins(home: Home) -> None:
    land_days(home, two_days())
    source = two_days()
    source.item_rows = [
        {"item_id": "i1", "title": "Desk lamp", "first_seen_at": "2025-02-02"},
        {"item_id": "i2", "title": "Chair"},
    ]
    source.customer_rows = []
    report = land_days(home, source)
    assert (report.items, report.customers) == (2, 1)
    items = pq.read_table(home.items_file).to_pylist()
    assert [item["title"] for item in items] == ["Desk lamp", "Chair"]
    assert items[0]["price"] is None
    assert items[0]["first_seen_at"].date() == date(2025, 1, 1)


def test_a_broken_item_is_quarantined(home: Home) -> None:
    source = two_days()
    source.item_rows.append({"item_id": None, "title": "nameless"})
    assert land_days(home, source).undated == 1
    assert quarantine_reasons(home)["item_missing_item_id"] == 1


def test_the_summary_counts_what_is_landed(home: Home) -> None:
    assert landing_summary(home).days == 0
    land_days(home, two_days())
    summary = landing_summary(home)
    assert (summary.first_day, summary.last_day, summary.days, summary.rows) == (FIRST, SECOND, 2, 3)
    assert (summary.quarantined, summary.duplicates, summary.items, summary.customers) == (1, 1, 1, 1)


def test_progress_is_told_after_each_day(home: Home) -> None:
    told: list[tuple[int, int, date]] = []
    land_days(home, two_days(), progress=lambda done, of, day: told.append((done, of, day)))
    assert told == [(1, 2, FIRST), (2, 2, SECOND)]


def test_a_kill_at_any_point_is_repaired_by_running_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """Not an Exception: nothing may catch it, as nothing catches a kill."""

    clean = Home(tmp_path / "clean")
    source = two_days()
    land_days(clean, source)
    source.rows[0]["channel"] = "email"
    source.rows[-1]["price"] = "none"
    land_days(clean, source)
    replace, kills = os.replace, 0
    for kill_at in range(40):
        home = Home(tmp_path / f"killed{kill_at}")
        land_days(home, two_days())
        calls = 0

        def killing(start: Path, end: Path, kill_at: int = kill_at) -> None:
            nonlocal calls
            calls += 1
            if calls > kill_at:
                raise Killed
            replace(start, end)

        monkeypatch.setattr("orchestration.parquet_files.os.replace", killing)
        try:
            land_days(home, source)
        except Killed:
            kills += 1
        monkeypatch.setattr("orchestration.parquet_files.os.replace", replace)
        land_days(home, source)
        assert everything(home) == everything(clean)
        assert landed_days(home) == landed_days(clean)
        if calls <= kill_at:
            break
    assert kills >= 3


def test_a_full_disk_is_one_line_with_path_and_remedy_and_leaves_no_half_file(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    land_days(home, two_days())
    before = everything(home)
    source = two_days()
    source.rows.append(view("more"))

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("orchestration.parquet_files.os.fsync", full)
    with pytest.raises(LandingError) as caught:
        land_days(home, source)
    message = str(caught.value)
    assert "No space left on device" in message
    assert "event_date=2025-03-01" in message
    assert "ATTUNE_HOME" in message
    assert "\n" not in message
    monkeypatch.undo()
    assert everything(home) == before
    assert [path for path in home.landing.rglob("*") if path.name.startswith(".")] == []


def test_a_write_that_the_system_cuts_short_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    write_atomically(path, pa.table({"x": [1]}))
    script = (
        "import resource, pyarrow as pa, os; from pathlib import Path\n"
        "from orchestration.parquet_files import write_atomically\n"
        "from orchestration.errors import LandingError\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (4096, {resource.RLIM_INFINITY}))\n"
        "try:\n"
        f"    write_atomically(Path({str(path)!r}), pa.table({{'x': list(os.urandom(100_000))}}))\n"
        "except LandingError as error:\n"
        "    raise SystemExit(error.exit_code)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == LandingError.exit_code
    assert pq.read_table(path).to_pylist() == [{"x": 1}]
    assert [file.name for file in tmp_path.iterdir()] == ["table.parquet"]


def test_nothing_of_the_erased_is_landed_not_even_their_raw_form(home: Home) -> None:
    erased = Erased(b"salt", frozenset({subject_hash(b"salt", "u1"), subject_hash(b"salt", "v1")}))
    source = ListSource(
        rows=[
            view("a"),
            view("b", user_id="u2"),
            view("c", user_id=None, anonymous_id="v1"),
            view("d", user_id=None, anonymous_id="v2"),
            view("e", channel="nowhere"),
            view("f", user_id="u2", channel="nowhere"),
            view("g", "nonsense"),
            view("h", "2025-03-02T10:00:00Z"),
        ],
        customer_rows=[{"user_id": "u1"}, {"user_id": "u2"}, {"user_id": "u1", "age": "old"}],
    )
    land_days(home, source)
    report = land_days(home, source, keeping=Keeping(erased))
    assert [(day.day, day.rows, day.quarantined, day.erased) for day in report.days] == [
        (FIRST, 2, 1, 3),
        (SECOND, 0, 0, 1),
    ]
    assert (report.erased, report.customers) == (7, 2)
    landed = {path: rows for path, rows in everything(home).items() if path != "customers.parquet"}
    assert "u1" not in str(landed)
    assert "v1" not in str(landed)


def test_of_somebody_else_on_an_erased_device_only_the_device_is_forgotten(home: Home) -> None:
    erased = Erased(b"salt", frozenset({subject_hash(b"salt", "v1")}))
    source = ListSource(
        [view("a", user_id="u2", anonymous_id="v1"), view("b", user_id=None, anonymous_id="v1")]
    )
    report = land_days(home, source, keeping=Keeping(erased))
    assert (report.rows, report.erased) == (1, 1)
    [row] = events_of(home, FIRST).to_pylist()
    assert (row["user_id"], row["anonymous_id"]) == ("u2", None)


def test_each_source_has_its_own_file_of_a_day(home: Home) -> None:
    land_days(home, ListSource([view("a"), view("bad", channel="nowhere")], name="one"))
    alone = landed_days(home)
    land_days(home, ListSource([view("b"), view("a"), view("c", "2025-03-02T10:00:00Z")], name="other"))
    both = landed_days(home)
    assert list(both) == [FIRST, SECOND]
    assert both[FIRST] != alone[FIRST]
    summary = landing_summary(home)
    assert (summary.days, summary.rows, summary.quarantined, summary.duplicates) == (2, 3, 1, 1)
    land_days(home, ListSource([view("d")], name="one"))
    assert landed_days(home)[FIRST] != both[FIRST]
    assert landing_summary(home).rows == 3


def test_rows_of_a_day_outside_their_batch_are_refused(home: Home) -> None:
    class Stray(ListSource):
        def events(self, days: Any) -> Any:
            for batch in super().events([FIRST, SECOND]):
                yield type(batch)((SECOND,), batch.frame)

    with pytest.raises(LandingError, match="gave rows of 2025-03-01"):
        land_days(home, Stray(two_days().rows), [SECOND])


def test_the_content_hash_sees_values_and_nothing_else() -> None:
    table = pa.table({"name": ["a", "bc", None, ""], "amount": [1.0, None, 2.0, 0.0]})
    chunked = pa.concat_tables([table.slice(0, 1), table.slice(1)])
    assert content_hash(chunked) == content_hash(table)
    assert content_hash(table.slice(1, 2)) == content_hash(
        pa.table({"name": ["bc", None], "amount": [None, 2.0]})
    )
    moved = pa.table({"name": ["ab", "c", None, ""], "amount": [1.0, None, 2.0, 0.0]})
    filled = pa.table({"name": ["a", "bc", "", None], "amount": [1.0, None, 2.0, 0.0]})
    zero = pa.table({"name": ["a", "bc", None, ""], "amount": [1.0, 0.0, 2.0, 0.0]})
    assert len({content_hash(t) for t in (table, moved, filled, zero, table.slice(0, 0))}) == 5
