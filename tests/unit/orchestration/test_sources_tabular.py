"""Anybody's files through a mapping: the documented example, instants of all kinds, wrong mappings."""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_repo.layout import Home
from feature_repo.validation import validate_events
from orchestration.errors import MappingError, SourceMissing, SourceUnreadable
from orchestration.landed import landing_summary, quarantine_reasons
from orchestration.landing import land_days
from orchestration.sources import tabular
from orchestration.sources.base import Source, open_source

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "tabular_mapping.md"

MAPPING = """\
version: 1
events:
  files: events.csv
  columns:
    event_id: id
    event_type: what
    user_id: who
    item_id: thing
    event_at: when
"""
CSV = "id,what,who,thing,when\n1,view,007,a,2025-03-01T10:00:00Z\n2,view,,a,2025-03-02 23:30\n"


def shop(folder: Path, mapping: str = MAPPING, csv: str = CSV) -> Path:
    (folder / "mapping.yml").write_text(mapping, encoding="utf-8")
    (folder / "events.csv").write_text(csv, encoding="utf-8")
    return folder


def all_events(source: Source, days: list[date] | None = None) -> pa.Table:
    frames = [batch.frame for batch in source.events(source.days() if days is None else days)]
    return validate_events(pd.concat(frames)).valid


def mapping_error(folder: Path, mapping: str) -> str:
    with pytest.raises(MappingError) as caught:
        open_source("tabular", shop(folder, mapping))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_documented_example_lands_as_it_says(tmp_path: Path) -> None:
    for name, text in re.findall(r"```\w+ (\S+)\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL):
        (tmp_path / name).write_text(text, encoding="utf-8")
    source = open_source("tabular", tmp_path)
    home = Home(tmp_path / "home")
    report = land_days(home, source)
    assert [(day.day, day.rows) for day in report.days] == [
        (date(2025, 3, 1), 4),
        (date(2025, 3, 2), 1),
        (date(2025, 3, 5), 1),
    ]
    assert landing_summary(home).reasons == {}
    events = all_events(source).to_pylist()
    assert [event["event_type"] for event in events].count("purchase") == 3
    assert [event["event_type"] for event in events][-1] == "return"
    assert events[0]["event_at"].isoformat() == "2025-03-01T09:15:00+00:00"
    assert {event["user_id"] for event in events} == {"0042", None}
    contexts = [event["context"] for event in events if event["context"]]
    assert [json.loads(context) for context in contexts] == [{"referrer": "mail"}]
    assert source.items()["title"].tolist() == ["Tea towel", "Desk lamp"]


def test_ids_of_a_csv_keep_their_leading_zeros(tmp_path: Path) -> None:
    assert all_events(open_source("tabular", shop(tmp_path)))["user_id"].to_pylist() == ["007", None]


def test_a_mapping_may_be_named_itself(tmp_path: Path) -> None:
    shop(tmp_path)
    assert open_source("tabular", tmp_path / "mapping.yml").days() == [date(2025, 3, 1), date(2025, 3, 2)]


def test_an_instant_without_a_zone_is_in_the_mapped_zone_and_one_with_a_zone_is_not(tmp_path: Path) -> None:
    mapping = MAPPING.replace("  columns:", "  time_zone: America/New_York\n  columns:")
    instants = all_events(open_source("tabular", shop(tmp_path, mapping)))["event_at"].to_pylist()
    assert [at.isoformat() for at in instants] == ["2025-03-01T10:00:00+00:00", "2025-03-03T04:30:00+00:00"]


@pytest.mark.parametrize("suffix", ["parquet", "ndjson"])
def test_a_zone_holds_in_every_format(tmp_path: Path, suffix: str) -> None:
    frame = pd.DataFrame({"id": ["1"], "what": ["view"], "who": ["u"], "thing": ["a"]})
    if suffix == "parquet":
        frame.assign(when=pd.to_datetime(["2025-07-01 12:00"])).to_parquet(tmp_path / "events.parquet")
    else:
        frame.assign(when=["2025-07-01 12:00:00"]).to_json(
            tmp_path / "events.ndjson", orient="records", lines=True
        )
    mapping = MAPPING.replace("events.csv", f"events.{suffix}\n  time_zone: Europe/Berlin")
    (instant,) = all_events(open_source("tabular", shop(tmp_path, mapping)))["event_at"].to_pylist()
    assert instant.isoformat() == "2025-07-01T10:00:00+00:00"


def test_ndjson_keeps_the_offset_that_is_written(tmp_path: Path) -> None:
    row = {"id": "1", "what": "view", "who": "u", "thing": "a", "when": "2025-07-01T12:00:00+05:00"}
    (tmp_path / "events.ndjson").write_text(json.dumps(row) + "\n", encoding="utf-8")
    mapping = MAPPING.replace("events.csv", "events.ndjson\n  time_zone: Europe/Berlin")
    (instant,) = all_events(open_source("tabular", shop(tmp_path, mapping)))["event_at"].to_pylist()
    assert instant.isoformat() == "2025-07-01T07:00:00+00:00"


def test_without_event_ids_running_again_changes_nothing_and_equal_rows_stay_two(tmp_path: Path) -> None:
    mapping = MAPPING.replace("    event_id: id\n", "").replace("events.csv", '"*.csv"')
    shop(tmp_path, mapping, CSV + "1,view,007,a,2025-03-01T10:00:00Z\n")
    home = Home(tmp_path / "home")
    assert land_days(home, open_source("tabular", tmp_path)).rows == 3
    assert land_days(home, open_source("tabular", tmp_path)).changed_days == []
    (tmp_path / "again.csv").write_text(CSV, encoding="utf-8")
    report = land_days(home, open_source("tabular", tmp_path))
    assert (report.rows, report.duplicates, report.changed_days) == (3, 2, [])


def test_rows_that_break_the_contract_are_quarantined_in_their_original_form(tmp_path: Path) -> None:
    shop(tmp_path, csv=CSV + "3,hovered,u,a,2025-03-01\n4,view,u,a,noon\n")
    home = Home(tmp_path / "home")
    report = land_days(home, open_source("tabular", tmp_path))
    assert (report.rows, report.quarantined, report.undated) == (2, 2, 1)
    rows = pd.read_parquet(home.quarantine / "event_date=unknown" / "tabular.parquet")
    assert json.loads(rows["raw"][0]) == {"id": "4", "what": "view", "who": "u", "thing": "a", "when": "noon"}


def test_batches_hold_whole_days_across_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tabular, "BATCH_ROWS", 2)
    shop(tmp_path, MAPPING.replace("events.csv", '"*.csv"'))
    more = (
        "id,what,who,thing,when\n3,view,u,a,2025-03-01T12:00:00Z\n4,view,u,a,2025-03-03\n5,view,u,a,never\n"
    )
    (tmp_path / "more.csv").write_text(more, encoding="utf-8")
    source = open_source("tabular", tmp_path)
    batches = [(batch.days, batch.frame["event_id"].tolist()) for batch in source.events(source.days())]
    assert batches == [
        ((date(2025, 3, 1),), ["1", "3", "5"]),
        ((date(2025, 3, 2), date(2025, 3, 3)), ["2", "4"]),
    ]


def test_a_constant_fills_a_field(tmp_path: Path) -> None:
    mapping = MAPPING + "    channel: {constant: store}\n"
    assert set(all_events(open_source("tabular", shop(tmp_path, mapping)))["channel"].to_pylist()) == {
        "store"
    }


def test_a_column_that_does_not_exist_is_named_with_line_field_and_the_columns_there(tmp_path: Path) -> None:
    message = mapping_error(tmp_path, MAPPING.replace("user_id: who", "user_id: customer"))
    assert message.startswith(f"{tmp_path}/mapping.yml:7: events.columns.user_id: ")
    assert message.endswith("events.csv has no column 'customer'; it has id, what, who, thing, when")


@pytest.mark.parametrize(
    ("old", "new", "where", "words"),
    [
        ("user_id:", "usr_id:", ":7: events.columns:", "'usr_id' is unknown; did you mean 'user_id'?"),
        ("    event_at: when\n", "", ":5: events.columns.event_at:", "must be mapped"),
        ("files: events.csv", "files: nothing*.csv", ":3: events.files:", "no file matches 'nothing*.csv'"),
        ("  files: events.csv\n", "", ":3: events.files:", "is missing"),
        ("  columns:", "  format: excel\n  columns:", ":4: events.format:", "known are parquet, csv, ndjson"),
        ("  columns:", "  time_zone: Mars/North\n  columns:", ":4: events.time_zone:", "no time zone"),
        (
            "  columns:",
            "  event_types: {V: vew}\n  columns:",
            ":4: events.event_types.V:",
            "did you mean 'product_view'",
        ),
        ("item_id: thing", "item_id: {}", ":8: events.columns.item_id:", "needs either column or constant"),
        (
            "event_at: when",
            "event_at: {column: when, unit: h}",
            ":9: events.columns.event_at.unit:",
            "known are s, ms",
        ),
        ("item_id: thing", "user_id: thing", ":8: events.columns.user_id:", "is given twice"),
        ("version: 1", "version: 2", ":1: version:", "'2' is unknown; write 1"),
        ("events:", "event:", ":2: mapping:", "did you mean 'events'?"),
        ("user_id: who", "user_id: [who]", ":7: events.columns.user_id:", "should be a mapping"),
        ("version: 1", "version: {", ":3: YAML:", ""),
    ],
)
def test_a_wrong_mapping_is_named_with_line_and_field(
    tmp_path: Path, old: str, new: str, where: str, words: str
) -> None:
    message = mapping_error(tmp_path, MAPPING.replace(old, new, 1))
    assert f"mapping.yml{where}" in message
    assert words in message


def test_an_empty_mapping_says_what_is_missing(tmp_path: Path) -> None:
    assert "mapping.yml:1: events: the file is empty" in mapping_error(tmp_path, "")


def test_a_missing_mapping_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match=r"expected a mapping file, or a folder with mapping\.yml"):
        open_source("tabular", tmp_path)


def test_an_unreadable_data_file_is_named(tmp_path: Path) -> None:
    shop(tmp_path, csv="id,what,who,thing,when\n1,view\n")
    with pytest.raises(SourceUnreadable, match=r"events\.csv: cannot be read \(CSV parse error"):
        open_source("tabular", tmp_path)


def test_marketing_spend_is_landed_by_day_and_a_day_given_again_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "mapping.yml").write_text(
        """
events: {files: events.csv, columns: {event_type: {constant: page_view}, event_at: at}}
marketing_spend: {files: spend.csv, columns: {day: on, channel: where, amount: cost}}
"""
    )
    (tmp_path / "events.csv").write_text("at\n2025-03-01T10:00:00Z\n")
    home = Home(tmp_path / "home")
    for rows in (
        "2025-03-01,Search,10.5\n2025-03-02,social,2",
        "2025-03-02,social,3\n2025-03-02,,4\nsoon,x,1",
    ):
        (tmp_path / "spend.csv").write_text(f"on,where,cost\n{rows}\n")
        report = land_days(home, open_source("tabular", tmp_path))
    landed = pq.read_table(home.marketing_spend_file).to_pylist()
    assert [(str(row["day"]), row["channel"], row["amount"]) for row in landed] == [
        ("2025-03-01", "search", 10.5),
        ("2025-03-02", "social", 3.0),
    ]
    assert report.undated == 2
    assert quarantine_reasons(home).keys() == {"marketing_spend_missing_channel", "marketing_spend_bad_day"}
