"""Interactions of any data set: Parquet in, histories out, errors that name file, column and remedy."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from training.holdouts import Holdout
from training.sources.history import Clock, History, history_of

REQUIRED = ("user_id", "item_id")
OPTIONAL = ("event_at", "position", "quantity")
MICROSECONDS_A_DAY = 86_400_000_000


class UnusableData(Exception):
    """The files cannot be measured on; the message names file, column and remedy."""


@dataclass(frozen=True)
class Rows:
    """Raw rows of one split: ids as they came, `at` in days or positions (None: no order)."""

    user: pd.Series
    item: pd.Series
    at: npt.NDArray[np.float64] | None
    clock: Clock
    quantity: npt.NDArray[np.float32] | None
    dropped: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.user)


@dataclass(frozen=True)
class Dataset:
    """Ids by position; positions cover training and test, so that an unknown item is one without a taker."""

    users: pd.Index
    items: pd.Index


@dataclass(frozen=True)
class Split:
    """Training part and test, over the positions of `dataset`; `strangers` are test users without history.

    `earlier` holds the same test at earlier cut-offs, latest first, where rolling folds were asked for, all
    with labels for `horizon` days.
    """

    dataset: Dataset
    test: Holdout
    strangers: npt.NDArray[np.int64]
    earlier: tuple[Holdout, ...] = ()
    horizon: float = 0.0


def find_files(data: Path, test: bool = False, given_split: bool = False) -> list[Path]:
    """The Parquet files of `data` (a file or a folder); with `given_split` those of one side of the split.

    Files with the word 'test' in their name are the test side, all others ('train', 'valid', ...) training.
    """
    if data.is_file():
        if given_split:
            raise UnusableData(
                f"{data} is one file; a given split needs two: give --train FILE and --test FILE"
            )
        return [data]
    found = sorted(data.glob("*.parquet")) or sorted(data.rglob("*.parquet"))
    if not found:
        raise UnusableData(f"{data} holds no *.parquet file; give a folder with one, or the file itself")
    if not given_split:
        return found
    tests = [path for path in found if re.search(r"test", path.stem, re.IGNORECASE)]
    if not tests or len(tests) == len(found):
        names = ", ".join(path.name for path in found)
        raise UnusableData(
            f"{data} holds {names}; a given split needs a file named with 'test' and one named with 'train',"
            " or --train FILE and --test FILE"
        )
    return tests if test else [path for path in found if path not in tests]


def read_rows(
    paths: Sequence[Path], columns: Mapping[str, str], item_pattern: str | None = None, by_day: bool = False
) -> Rows:
    """All rows of the files; `columns` maps our names to those of the files where they differ.

    Rows without user or item are left out and counted, and so are rows with a quantity of 0 or less (returns)
    and items that do not match `item_pattern` whole.
    """
    frame = pd.concat([_read(path, columns) for path in paths], ignore_index=True)
    dropped: dict[str, int] = {}

    def keep(good: pd.Series, reason: str) -> None:
        nonlocal frame
        if not good.all():
            dropped[reason] = int((~good).sum())
            frame = frame[good]

    keep(frame["user_id"].notna() & frame["item_id"].notna(), "no user or item")
    if "quantity" in frame:
        keep(frame["quantity"].fillna(1) > 0, "quantity of 0 or less")
    if item_pattern is not None:
        keep(frame["item_id"].astype(str).str.fullmatch(item_pattern), "item not matching the pattern")
    clock: Clock = "none"
    at = None
    if "event_at" in frame and frame["event_at"].notna().any():
        keep(frame["event_at"].notna(), "no event_at")
        clock, at = "days", _days(frame["event_at"], paths[0])
        at = np.floor(at) if by_day else at
    elif "position" in frame and frame["position"].notna().any():
        keep(frame["position"].notna(), "no position")
        clock, at = "steps", frame["position"].to_numpy(dtype=np.float64)
    if frame.empty:
        raise UnusableData(f"{paths[0]} has no usable row ({dropped}); check --columns and the file")
    quantity = frame["quantity"].fillna(1).to_numpy(np.float32) if "quantity" in frame else None
    return Rows(frame["user_id"], frame["item_id"], at, clock, quantity, dropped)


def index_rows(
    parts: Sequence[Rows],
) -> tuple[Dataset, list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]]:
    """Positions of users and items of all parts; ids sorted, so the order of rows changes nothing."""
    users = _ids([part.user for part in parts])
    items = _ids([part.item for part in parts])
    found = [
        (users.get_indexer(pd.Index(part.user)), items.get_indexer(pd.Index(part.item))) for part in parts
    ]
    return Dataset(users, items), found


def history_of_rows(
    rows: Rows, positions: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]], dataset: Dataset
) -> History:
    """All rows as one history."""
    shape = (len(dataset.users), len(dataset.items))
    return history_of(shape, rows.clock, *positions, rows.at, rows.quantity)


def as_day(text: str) -> float:
    """A day such as 2010-09-01 in days since 1970, the unit of `Rows.at`."""
    return float((np.datetime64(text, "us") - np.datetime64(0, "us")).astype(np.int64) / MICROSECONDS_A_DAY)


def _read(path: Path, columns: Mapping[str, str]) -> pd.DataFrame:
    try:
        available = pq.read_schema(path).names
    except (OSError, pa.ArrowInvalid) as error:
        raise UnusableData(f"{path} cannot be read as Parquet ({error})") from error
    wanted = {name: columns.get(name, name) for name in REQUIRED + OPTIONAL}
    for name, column in wanted.items():
        if column not in available and (name in REQUIRED or name in columns):
            raise UnusableData(
                f"{path} lacks column {column!r} for {name}; it has {', '.join(available)}."
                f" Say which it is: --columns {name}=COLUMN"
            )
    present = {column: name for name, column in wanted.items() if column in available}
    frame = pq.read_table(path, columns=list(present)).to_pandas().rename(columns=present)
    for name in REQUIRED:
        if not (pd.api.types.is_integer_dtype(frame[name]) or frame[name].dtype == object):
            whole = frame[name].dropna()
            if not pd.api.types.is_float_dtype(frame[name]):
                frame[name] = frame[name].astype(object)
            elif (whole == whole.round()).all():  # whole numbers with nulls come as floats
                frame[name] = frame[name].astype("Int64")
    return frame


def _days(column: pd.Series, path: Path) -> npt.NDArray[np.float64]:
    """Instants, dates, ISO texts, or seconds or milliseconds since 1970, as days since 1970."""
    if pd.api.types.is_numeric_dtype(column):
        values = column.to_numpy(dtype=np.float64)
        largest = float(np.abs(values).max())
        unit = next(
            (size for limit, size in ((1e6, 1.0), (1e11, 86_400.0), (1e14, 86_400e3)) if largest < limit),
            86_400e6,
        )
        return values / unit
    try:
        stamps = pd.to_datetime(column, utc=True)
    except (ValueError, TypeError) as error:
        raise UnusableData(f"{path}, column event_at: {error}; give timestamps or numbers") from error
    return stamps.dt.as_unit("us").astype(np.int64).to_numpy() / MICROSECONDS_A_DAY


def _ids(columns: Sequence[pd.Series]) -> pd.Index:
    values = pd.unique(pd.concat([pd.Series(pd.unique(column)) for column in columns], ignore_index=True))
    try:
        return pd.Index(np.sort(values))
    except TypeError:
        return pd.Index(sorted(values, key=str))
