"""Segments by behaviour: k-means on five families of standardised features, their number chosen by stability.

The families are purchase frequency, average order value, product affinity, engagement and price sensitivity,
each with the same total weight. The number of segments is the largest whose prediction strength (Tibshirani &
Walther 2005) reaches 0.8 over random halves: segments found in one half also hold together in the other. A
segment is named by the two features in which it differs most from everybody.

To see who moved, later runs keep the segments of the first as long as these describe the customers about as
well as new ones would (`KEEP`); otherwise new ones are found, and nobody has moved.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.cluster.vq import kmeans2

from training.boosting import read_json
from training.errors import BrokenModel, NotEnoughData

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

FORMAT_VERSION = 1
# family -> column -> how its high and low ends are called
FAMILIES: dict[str, dict[str, tuple[str, str]]] = {
    "purchase_frequency": {
        "order_rate": ("frequent", "rare"),
        "order_day_count": ("many orders", "few orders"),
    },
    "average_order_value": {"mean_order_value": ("large baskets", "small baskets")},
    "product_affinity": {"item_count": ("broad taste", "narrow taste")},
    "engagement_patterns": {
        "inactivity_days": ("dormant", "active"),
        "events_decay_90d": ("engaged", "quiet"),
    },
    "price_sensitivity": {
        "price_level": ("premium", "budget"),
        "discount_share": ("discount seekers", "full price"),
    },
}
NAMES = {column: ends for family in FAMILIES.values() for column, ends in family.items()}
COLUMNS = tuple(NAMES)
LARGEST_NUMBER = 8
STRENGTH = 0.8
HALVES = 3
SAMPLE = 1200
KEEP = 1.1
LEAST_CUSTOMERS = 50
RESTARTS, STEPS = 4, 30


@dataclass(frozen=True)
class Clusters:
    """Centres in standardised, weighted coordinates; `names` has one per centre."""

    medians: tuple[float, ...]
    scales: tuple[float, ...]
    centres: tuple[tuple[float, ...], ...]
    names: tuple[str, ...]
    strength: float

    def place(self, frame: pd.DataFrame) -> FloatArray:
        """The coordinates of each row."""
        return _weighted(_logs(frame), self.medians, self.scales)

    def assign(self, frame: pd.DataFrame) -> npt.NDArray[np.str_]:
        """The name of each row's nearest centre."""
        return np.array(self.names)[_nearest(self.place(frame), np.array(self.centres))]

    def error(self, frame: pd.DataFrame) -> float:
        """Mean squared distance of the rows to their centres."""
        return _error(self.place(frame), np.array(self.centres))


def find_clusters(frame: pd.DataFrame, seed: int = 0, before: Clusters | None = None) -> Clusters:
    """Segments of the rows of `frame` (columns `COLUMNS`), or `before` if it still describes them.

    Raises `NotEnoughData` for fewer than 50 customers.
    """
    if len(frame) < LEAST_CUSTOMERS:
        raise NotEnoughData("customers to cluster", len(frame), LEAST_CUSTOMERS, "land more days")
    if before is not None and _still_describes(before, frame, seed):
        return before
    logs = _logs(frame)
    medians = tuple(float(each) for each in np.nanmedian(logs, axis=0))
    spread = np.nanstd(logs, axis=0)
    scales = tuple(float(each) if each > 0 else 1.0 for each in spread)
    points = _weighted(logs, medians, scales)
    draw = np.random.default_rng(seed)
    sample = points[draw.permutation(len(points))[:SAMPLE]]
    strengths = {number: prediction_strength(sample, number, seed) for number in range(2, LARGEST_NUMBER + 1)}
    stable = [number for number, value in strengths.items() if value >= STRENGTH]
    number = max(stable) if stable else max(strengths, key=lambda each: strengths[each])
    centres = _fit(points, number, seed)
    rows = tuple(tuple(map(float, each)) for each in centres)
    return Clusters(medians, scales, rows, _named(centres), strengths[number])


def prediction_strength(points: FloatArray, number: int, seed: int) -> float:
    """Of pairs in one segment of a test half, the share that the training half's centres keep together.

    The least over the segments, averaged over random halves: 1 if every segment is found again.
    """
    draw = np.random.default_rng(seed)
    found = []
    for half in range(HALVES):
        order = draw.permutation(len(points))
        train, test = points[order[::2]], points[order[1::2]]
        own = _nearest(test, _fit(test, number, seed + half))
        other = _nearest(test, _fit(train, number, seed + half))
        kept = [_kept_together(other[own == each]) for each in range(number)]
        found.append(min(kept))
    return float(np.mean(found))


def moves(before: pd.Series, after: pd.Series) -> pd.DataFrame:
    """`segment_before`, `segment`, `customers`: who is where, of the customers in both (index: user id)."""
    joined = pd.DataFrame({"segment_before": before, "segment": after}).dropna()
    return joined.groupby(["segment_before", "segment"]).size().rename("customers").reset_index()


def write_clusters(clusters: Clusters, path: Path) -> None:
    """Writes the segments as JSON; no customer is in it."""
    values = {"format_version": FORMAT_VERSION, "columns": list(COLUMNS), **vars(clusters)}
    path.write_text(json.dumps(values, indent=2), encoding="utf-8")


def read_clusters(path: Path) -> Clusters | None:
    """The inverse of `write_clusters`; None without a file, or if it is of other columns.

    Raises `BrokenModel` naming the file.
    """
    if not path.exists():
        return None
    values = read_json(path)
    if values.get("format_version") != FORMAT_VERSION or values.get("columns") != list(COLUMNS):
        return None
    try:
        centres = tuple(tuple(map(float, each)) for each in values["centres"])
        medians, scales = (tuple(map(float, values[name])) for name in ("medians", "scales"))
        return Clusters(medians, scales, centres, tuple(map(str, values["names"])), float(values["strength"]))
    except (KeyError, TypeError, ValueError) as error:
        raise BrokenModel(path, f"lacks a field or has a wrong one ({error!r})") from error


def _logs(frame: pd.DataFrame) -> FloatArray:
    values = frame.loc[:, list(COLUMNS)].to_numpy(dtype=np.float64, na_value=np.nan)
    return np.asarray(np.log1p(np.maximum(values, 0.0)))


def _weighted(logs: FloatArray, medians: tuple[float, ...], scales: tuple[float, ...]) -> FloatArray:
    """Standardised and bounded, missing in the middle, each family with the same total weight."""
    standard = np.clip(np.nan_to_num((logs - np.array(medians)) / np.array(scales)), -3.0, 3.0)
    weights = [1.0 / np.sqrt(len(family)) for family in FAMILIES.values() for _ in family]
    return np.asarray(standard * np.array(weights))


def _fit(points: FloatArray, number: int, seed: int) -> FloatArray:
    tries = []
    for restart in range(RESTARTS):
        draw = np.random.default_rng([seed, restart])
        centres, _ = kmeans2(points, number, iter=STEPS, minit="++", rng=draw, missing="warn")
        tries.append((_error(points, centres), restart, centres))
    return np.asarray(min(tries)[2])


def _still_describes(clusters: Clusters, frame: pd.DataFrame, seed: int) -> bool:
    points = clusters.place(frame)
    return clusters.error(frame) <= KEEP * _error(points, _fit(points, len(clusters.names), seed))


def _nearest(points: FloatArray, centres: FloatArray) -> IntArray:
    return np.asarray(((points[:, None, :] - centres[None]) ** 2).sum(axis=2).argmin(axis=1), dtype=np.int64)


def _error(points: FloatArray, centres: FloatArray) -> float:
    return float(((points - centres[_nearest(points, centres)]) ** 2).sum(axis=1).mean())


def _kept_together(labels: IntArray) -> float:
    """The share of pairs with the same label; 1 for a segment of one."""
    count = len(labels)
    if count < 2:
        return 1.0
    sizes = np.bincount(labels)
    return float((sizes * (sizes - 1)).sum() / (count * (count - 1)))


def _named(centres: FloatArray) -> tuple[str, ...]:
    """By the two features in which a centre is furthest from the mean of all; equal names are numbered."""
    apart = centres - centres.mean(axis=0)
    names: list[str] = []
    for row in apart:
        chosen = np.argsort(-np.abs(row), kind="stable")[:2]
        words = [NAMES[COLUMNS[each]][0 if row[each] > 0 else 1] for each in chosen]
        name = ", ".join(dict.fromkeys(words))
        same = sum(re.sub(r" \d+$", "", other) == name for other in names)
        names.append(name if not same else f"{name} {same + 1}")
    return tuple(names)
