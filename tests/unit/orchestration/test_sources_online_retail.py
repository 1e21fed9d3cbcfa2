"""Invoice lines as events: what is a sale, what a return, what neither; and files that are wrong."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_repo.layout import Home
from feature_repo.validation import Validated, validate_events
from orchestration.errors import (
    SourceColumnMissing,
    SourceColumnType,
    SourceMissing,
    SourceUnreadable,
    UnknownSource,
)
from orchestration.landed import landing_summary
from orchestration.landing import land_days
from orchestration.sources.base import Source, open_source

REAL = Path(__file__).resolve().parents[4] / "shared" / "data" / "online_retail_year1"


def line(**fields: Any) -> dict[str, Any]:
    return {
        "invoice_no": "489434",
        "stock_code": "85048",
        "description": "GLASS BALL",
        "quantity": 12,
        "invoice_date": pd.Timestamp("2009-12-01 07:45"),
        "unit_price": 6.95,
        "customer_id": 13085,
        "country": "United Kingdom",
        **fields,
    }


def source_of(folder: Path, *lines: dict[str, Any]) -> Source:
    frame = pd.DataFrame(list(lines))
    frame["customer_id"] = frame["customer_id"].astype("Int32")
    frame.to_parquet(folder / "transactions.parquet")
    return open_source("online_retail", folder)


def events_of(source: Source) -> Validated:
    (batch,) = source.events(source.days())
    return validate_events(batch.frame)


def test_a_line_is_a_purchase_with_its_invoice_as_order(tmp_path: Path) -> None:
    (event,) = events_of(source_of(tmp_path, line())).valid.to_pylist()
    assert event["event_id"] == "489434:85048:1"
    assert (event["event_type"], event["user_id"], event["order_id"]) == ("purchase", "13085", "489434")
    assert (event["quantity"], event["price"], event["currency"], event["channel"]) == (
        12.0,
        6.95,
        "GBP",
        "web",
    )
    assert event["session_id"] is None


def test_a_c_invoice_is_a_return_of_a_positive_quantity(tmp_path: Path) -> None:
    (event,) = events_of(source_of(tmp_path, line(invoice_no="C489449", quantity=-3))).valid.to_pylist()
    assert (event["event_type"], event["quantity"], event["order_id"]) == ("return", 3.0, "C489449")


def test_a_guest_keeps_no_user(tmp_path: Path) -> None:
    source = source_of(tmp_path, line(customer_id=None))
    assert events_of(source).valid["user_id"].to_pylist() == [None]
    assert source.customers().empty


def test_local_summer_time_becomes_utc(tmp_path: Path) -> None:
    source = source_of(tmp_path, line(invoice_date=pd.Timestamp("2010-07-01 00:30")))
    assert source.days() == [date(2010, 6, 30)]
    assert events_of(source).valid["event_at"][0].as_py().isoformat() == "2010-06-30T23:30:00+00:00"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"stock_code": "POST"}, "non_product"),
        ({"stock_code": "gift_0001_30"}, "non_product"),
        ({"invoice_no": "A506401", "stock_code": "B"}, "adjustment"),
        ({"stock_code": "ADJUST2"}, "adjustment"),
        ({"invoice_no": "X1"}, "unknown_invoice"),
        ({"quantity": -5}, "write_off"),
        ({"quantity": 0}, "zero_quantity"),
        ({"invoice_no": "C1", "quantity": 5}, "positive_cancellation"),
        ({"unit_price": 0.0}, "non_positive_price"),
        ({"unit_price": -1.0}, "non_positive_price"),
        ({"unit_price": None}, "missing_price"),
        ({"stock_code": None}, "missing_item_id"),
        ({"invoice_no": None}, "missing_event_id"),
        ({"invoice_date": pd.NaT}, "missing_event_at"),
    ],
)
def test_what_is_no_sale_is_rejected_with_its_reason_and_its_line(
    tmp_path: Path, fields: dict[str, Any], reason: str
) -> None:
    result = events_of(source_of(tmp_path, line(**fields), line(stock_code="22041")))
    assert result.rejected["reason"].tolist() == [reason]
    assert json.loads(result.rejected["raw"][0])["country"] == "United Kingdom"
    assert result.valid.num_rows == 1


def test_a_product_code_is_one_in_either_case(tmp_path: Path) -> None:
    result = events_of(source_of(tmp_path, line(stock_code="85123a"), line(stock_code=" 85123A ")))
    assert result.valid["item_id"].to_pylist() == ["85123A", "85123A"]


def test_ids_depend_on_the_invoice_and_not_on_the_order_of_rows(tmp_path: Path) -> None:
    lines = [line(), line(quantity=6), line(), line(stock_code="22041")]
    forward = events_of(source_of(tmp_path, *lines)).valid
    backward = events_of(source_of(tmp_path, *reversed(lines))).valid
    assert forward.equals(backward)
    assert len(set(forward["event_id"].to_pylist())) == 4


def test_items_have_their_commonest_name_and_median_price(tmp_path: Path) -> None:
    lines = [
        line(description="GLASS BALL", unit_price=5.0),
        line(description="glass ball (wrong)", unit_price=9.0),
        line(description="GLASS BALL", unit_price=6.0, invoice_date=pd.Timestamp("2009-12-03")),
        line(description="damaged", unit_price=0.0, quantity=-1),
        line(stock_code="22041", description=None),
    ]
    items = source_of(tmp_path, *lines).items().set_index("item_id")
    assert items.loc["85048", "title"] == "GLASS BALL"
    assert items.loc["85048", "price"] == 6.0
    assert items.loc["85048", "first_seen_at"] == pd.Timestamp("2009-12-01 07:45", tz="UTC")
    assert pd.isna(items.loc["22041", "title"])


def test_customers_have_their_first_purchase_and_country(tmp_path: Path) -> None:
    lines = [
        line(invoice_no="C1", quantity=-1, invoice_date=pd.Timestamp("2009-12-01")),
        line(invoice_date=pd.Timestamp("2009-12-05"), country="France"),
        line(invoice_date=pd.Timestamp("2009-12-06"), country="France"),
    ]
    (customer,) = source_of(tmp_path, *lines).customers().to_dict("records")
    assert customer["created_at"] == pd.Timestamp("2009-12-05", tz="UTC")
    assert customer["location"] == "France"


def test_a_line_without_a_date_is_quarantined_whatever_days_are_asked_for(tmp_path: Path) -> None:
    source = source_of(tmp_path, line(), line(invoice_date=pd.NaT))
    home = Home(tmp_path / "home")
    assert land_days(home, source, [date(2009, 12, 1)]).undated == 1
    assert land_days(home, source, []).undated == 1
    assert landing_summary(home).reasons == {"missing_event_at": 1}


def test_a_csv_of_the_same_form_works_as_well(tmp_path: Path) -> None:
    pd.DataFrame([line(), line(customer_id=None, stock_code="22041")]).to_csv(
        tmp_path / "lines.csv", index=False
    )
    valid = events_of(open_source("online_retail", tmp_path)).valid
    assert valid["user_id"].to_pylist() == [None, "13085"]


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        SourceMissing, match=r"nowhere: not found; expected a Parquet or CSV file .* Check --path"
    ):
        open_source("online_retail", tmp_path / "nowhere")


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "transactions.parquet").write_bytes(b"not parquet")
    with pytest.raises(SourceUnreadable, match=r"transactions.parquet: cannot be read") as caught:
        open_source("online_retail", tmp_path)
    assert "\n" not in str(caught.value)


def test_a_renamed_column_is_named_with_those_that_exist(tmp_path: Path) -> None:
    pd.DataFrame([line()]).rename(columns={"customer_id": "client"}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(
        SourceColumnMissing, match=r"column 'customer_id' is missing; the file has .*client"
    ) as caught:
        open_source("online_retail", tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("column", "values", "words"),
    [
        ("quantity", ["many"], "a number but is string"),
        ("invoice_date", ["01/12/2009 07:45"], "a timestamp but is string"),
        ("unit_price", [True], "a number but is bool"),
    ],
)
def test_a_column_of_another_type_is_named(
    tmp_path: Path, column: str, values: list[Any], words: str
) -> None:
    table = pa.Table.from_pandas(pd.DataFrame([line()]))
    position = table.schema.get_field_index(column)
    pq.write_table(table.set_column(position, column, pa.array(values)), tmp_path / "a.parquet")
    with pytest.raises(SourceColumnType, match=rf"column '{column}' should be {words}"):
        open_source("online_retail", tmp_path)


def test_an_unknown_source_is_named_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(
        UnknownSource, match="unknown source 'shopify'; --source takes online_retail, tabular, simulator"
    ):
        open_source("shopify", tmp_path)


@pytest.mark.skipif(not REAL.is_dir(), reason="the data set online_retail_year1 is not beside the project")
def test_the_real_year_lands_whole_and_every_row_is_accounted_for(tmp_path: Path) -> None:
    report = land_days(Home(tmp_path), open_source("online_retail", REAL))
    assert report.rows + report.quarantined + report.duplicates == 502_938
    assert report.duplicates == 0
    assert report.days[0].day == date(2009, 12, 1)
    assert report.days[-1].day == date(2010, 11, 30)
    reasons = landing_summary(Home(tmp_path)).reasons
    assert set(reasons) == {"non_product", "write_off", "non_positive_price", "adjustment"}
    assert reasons["adjustment"] >= 3
