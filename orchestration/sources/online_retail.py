"""Online Retail II: invoice lines of one UK shop, or any file with the same columns.

One row per invoice line. A line becomes a ``purchase``, or a ``return`` on a C-invoice; everything that is
neither (postage, fees, adjustments, write-offs, lines without price) is rejected with its reason. Times in
the file are UK local without a zone and become UTC. Codes are compared in upper case: 85123a is 85123A.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.columns import text
from feature_repo.validation import row_days
from orchestration.sources.base import EventBatch
from orchestration.sources.files import find_files, read_file, require_type

TIME_ZONE = "Europe/London"
CURRENCY = "GBP"
COLUMNS = {
    "invoice_no": "text",
    "stock_code": "text",
    "description": "text",
    "quantity": "number",
    "invoice_date": "timestamp",
    "unit_price": "number",
    "customer_id": "text",
    "country": "text",
}
PRODUCT_CODE = "^[0-9]{5}[A-Z]*$"

REASONS = {
    "adjustment": "an A-invoice or an adjustment code is bookkeeping, not a sale",
    "unknown_invoice": "an invoice number is digits, after a C for a cancellation or an A for an adjustment",
    "non_product": "a product code is five digits and optional letters",
    "write_off": "a negative quantity outside a C-invoice is damage, loss or a correction",
    "positive_cancellation": "a C-invoice cancels, so its quantity is negative",
    "zero_quantity": "a line without units is no sale",
    "non_positive_price": "a product line has a price above 0",
}


@dataclass(frozen=True)
class OnlineRetailSource:
    """Invoice lines, read once and kept as events."""

    path: Path
    lines: pa.Table
    name: str = "online_retail"

    @classmethod
    def open(cls, path: Path) -> OnlineRetailSource:
        """Reads the file, or all files of a folder; raises a SourceError naming file, column and remedy."""
        expected = f"a Parquet or CSV file with the columns {', '.join(COLUMNS)}"
        tables = []
        for file in find_files(path, expected):
            table = read_file(file, columns=list(COLUMNS))
            for column, kind in COLUMNS.items():
                require_type(file, table, column, kind)
            tables.append(_unified(table))
        return cls(path, pa.concat_tables(tables).combine_chunks())

    def days(self) -> list[date]:
        return [day.as_py() for day in pc.unique(self._day.drop_null()).sort()]

    def events(self, days: Sequence[date]) -> Iterator[EventBatch]:
        """One batch: the whole file fits and is validated fastest at once."""
        wanted = pc.or_(pc.is_in(self._day, value_set=pa.array(days, pa.date32())), pc.is_null(self._day))
        yield EventBatch(tuple(days), self._frame[np.asarray(wanted)])

    def items(self) -> pd.DataFrame:
        """One row per product sold or returned: commonest description, median price, first sale."""
        lines = self._accepted
        prices = lines.groupby("item_id", sort=True).agg(
            price=("price", "median"), first_seen_at=("event_at", "min")
        )
        prices["title"] = _commonest(lines, "item_id", "raw_description")
        return prices.reset_index()

    def customers(self) -> pd.DataFrame:
        """One row per known customer: commonest country, first purchase (or first line)."""
        lines = self._accepted.dropna(subset=["user_id"])
        is_purchase = lines["event_type"] == "purchase"
        first = lines.groupby("user_id", sort=True).agg(created_at=("event_at", "min"))
        first_purchase = lines[is_purchase].groupby("user_id")["event_at"].min()
        first["created_at"] = first_purchase.reindex(first.index).fillna(first["created_at"])
        first["location"] = _commonest(lines, "user_id", "raw_country")
        return first.reset_index()

    @cached_property
    def _frame(self) -> pd.DataFrame:
        return _as_events(self.lines)

    @cached_property
    def _day(self) -> pa.Array:
        return row_days(self._frame)

    @cached_property
    def _accepted(self) -> pd.DataFrame:
        frame = self._frame
        return frame[frame["reject_reason"].isna() & frame["event_at"].notna()]


def _unified(table: pa.Table) -> pa.Table:
    """The same column types for every file: text as strings, amounts as floats, instants in microseconds."""
    arrays = []
    for column, kind in COLUMNS.items():
        values = table[column].combine_chunks()
        if kind == "text":
            arrays.append(text(pd.Series(values.to_pandas(types_mapper=pd.ArrowDtype)), len(values)))
        else:
            arrays.append(values.cast(pa.float64() if kind == "number" else pa.timestamp("us"), safe=False))
    return pa.Table.from_arrays(arrays, list(COLUMNS))


def _as_events(lines: pa.Table) -> pd.DataFrame:
    invoice = pc.utf8_upper(lines["invoice_no"])
    code = pc.utf8_upper(lines["stock_code"])
    quantity = np.asarray(lines["quantity"].to_pandas(), dtype=np.float64)
    price = np.asarray(lines["unit_price"].to_pandas(), dtype=np.float64)
    is_return = np.asarray(pc.fill_null(pc.starts_with(invoice, "C"), False))
    original = {f"raw_{name}": lines[name] for name in COLUMNS}
    table = pa.table(
        {
            "event_id": pa.nulls(lines.num_rows, pa.string()),
            "event_type": pa.array(np.where(is_return, "return", "purchase")),
            "user_id": lines["customer_id"],
            "item_id": code,
            "order_id": invoice,
            "quantity": np.abs(quantity),
            "price": price,
            "currency": pa.array([CURRENCY]).take(pa.array(np.zeros(lines.num_rows, dtype=np.int8))),
            "reject_reason": _reasons(invoice, code, quantity, price, is_return),
            **original,
        }
    )
    frame: pd.DataFrame = table.to_pandas(types_mapper=_arrow_strings)
    frame["event_id"] = _line_ids(frame, quantity)
    frame["event_at"] = _utc(lines["invoice_date"])
    frame["reject_detail"] = frame["reject_reason"].map(REASONS)
    return frame


def _reasons(
    invoice: pa.ChunkedArray,
    code: pa.ChunkedArray,
    quantity: np.ndarray,
    price: np.ndarray,
    is_return: np.ndarray,
) -> pa.Array:
    """Why a line is no purchase or return of a product, null if it is one; the first that holds."""
    is_known = np.asarray(pc.fill_null(pc.match_substring_regex(invoice, "^[CA]?[0-9]+$"), True))
    is_product = np.asarray(pc.fill_null(pc.match_substring_regex(code, PRODUCT_CODE), True))
    is_adjustment = np.asarray(pc.fill_null(pc.starts_with(invoice, "A"), False)) | np.asarray(
        pc.fill_null(pc.starts_with(code, "ADJUST"), False)
    )
    rules = [
        ("adjustment", is_adjustment),
        ("unknown_invoice", ~is_known),
        ("non_product", ~is_product),
        ("write_off", (quantity < 0) & ~is_return),
        ("positive_cancellation", (quantity > 0) & is_return),
        ("zero_quantity", quantity == 0),
        ("non_positive_price", price <= 0),
    ]
    names = np.array([name for name, _ in rules], dtype=object)
    masks = np.stack([mask for _, mask in rules])
    first = np.argmax(masks, axis=0)
    return pa.array(names, pa.string()).take(pa.array(first, mask=~masks.any(axis=0)))


def _line_ids(frame: pd.DataFrame, quantity: np.ndarray) -> pd.Series:
    """``invoice:code:ordinal``; the ordinal counts the lines of one code on one invoice by their amounts.

    So an id depends on the invoice's content, not on the order of rows in the file; null without an invoice.
    """
    keys = frame[["order_id", "item_id"]].copy()
    keys["amount"] = quantity
    keys["price"] = frame["price"]
    keys["at"] = frame["raw_invoice_date"]
    ranked = keys.sort_values(["amount", "price", "at"], kind="stable")
    ordinal = ranked.groupby(["order_id", "item_id"], sort=False, dropna=False).cumcount().reindex(keys.index)
    code = frame["item_id"].fillna("")
    return frame["order_id"] + ":" + code + ":" + (ordinal + 1).astype("string[pyarrow]").astype(code.dtype)


def _utc(local: pa.ChunkedArray) -> pd.Series:
    stamps = pd.Series(local.to_pandas())
    clock = stamps.dt.tz_localize(
        TIME_ZONE, ambiguous=np.ones(len(stamps), dtype=bool), nonexistent="shift_forward"
    )
    return clock.dt.tz_convert("UTC").dt.as_unit("us")


def _commonest(lines: pd.DataFrame, key: str, value: str) -> pd.Series:
    """The most frequent value of each key; of equally frequent ones the alphabetically first."""
    counts = lines.dropna(subset=[value]).groupby([key, value]).size().rename("n").reset_index()
    ranked = counts.sort_values([key, "n", value], ascending=[True, False, True], kind="stable")
    return ranked.drop_duplicates(key).set_index(key)[value]


def _arrow_strings(kind: pa.DataType) -> pd.ArrowDtype | None:
    return pd.ArrowDtype(kind) if pa.types.is_string(kind) else None
