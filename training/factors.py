"""Item factors: the part of a matrix factorization that is kept, and fold-in of any history with numpy alone.

A user's vector is always solved from the user's history, never stored: a user unknown at training gets the
same treatment as a known one, a purchase of a minute ago counts, and the service needs no training library.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.errors import BrokenRelease

FORMAT_VERSION = 1
FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ItemFactors:
    """Item vectors with what fold-in needs.

    `vectors` is float32, one row per item of `item_ids`; `multipliers` scales each item's score (the item's
    recent trend; 1 where there is none). A pair's confidence is `alpha * weight(strength)`, with `weighting`
    as in `AlsConfig`. `half_life_days` is the decay that strengths had in training, for the caller to apply
    to the ages of a history (None: no decay).
    """

    item_ids: tuple[str, ...]
    vectors: FloatArray
    multipliers: FloatArray
    regularization: float
    alpha: float
    weighting: str
    half_life_days: float | None = None

    @cached_property
    def position(self) -> dict[str, int]:
        """Item id -> row."""
        return {item_id: index for index, item_id in enumerate(self.item_ids)}

    @cached_property
    def gram(self) -> npt.NDArray[np.float64]:
        """YtY + regularization * I, the part of the normal equations that all users share."""
        vectors = self.vectors.astype(np.float64)
        return np.asarray(vectors.T @ vectors + self.regularization * np.eye(vectors.shape[1]))

    def confidence(self, strengths: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Confidence of each positive strength; 0 for a strength of 0 or less."""
        return confidence(strengths, self.weighting, self.alpha)

    def fold_in(self, positions: npt.ArrayLike, strengths: npt.ArrayLike) -> FloatArray:
        """The user vector of one history: rows of `vectors` with the strength of each.

        Solves (YtY + Yt (C - I) Y + reg I) x = Yt C p (Hu, Koren & Volinsky 2008, eq. 4) over the items of
        the history; zeros for an empty history.
        """
        rows = np.asarray(positions, dtype=np.int64)
        weights = self.confidence(strengths)
        rows, weights = rows[weights > 0], weights[weights > 0]
        if not len(rows):
            return np.zeros(self.vectors.shape[1], dtype=np.float32)
        touched = self.vectors[rows].astype(np.float64)
        left = self.gram + (touched * (weights - 1.0)[:, None]).T @ touched
        return np.linalg.solve(left, touched.T @ weights).astype(np.float32)

    def scores(self, users: FloatArray) -> FloatArray:
        """Score of every item for each user vector (one row each)."""
        return np.asarray((np.atleast_2d(users) @ self.vectors.T) * self.multipliers, dtype=np.float32)

    def score_history(self, item_ids: Sequence[str], strengths: Sequence[float]) -> FloatArray:
        """Score of every item, in the order of `self.item_ids`, for a history given by item id.

        `strengths` are those of the interactions mart (decayed weights of views, carts and purchases); a
        repeated item adds up and an unknown item is left out. All zeros if nothing known remains.
        """
        total: dict[int, float] = {}
        for item_id, strength in zip(item_ids, strengths, strict=True):
            row = self.position.get(item_id)
            if row is not None:
                total[row] = total.get(row, 0.0) + float(strength)
        rows = np.fromiter(total.keys(), dtype=np.int64, count=len(total))
        values = np.fromiter(total.values(), dtype=np.float64, count=len(total))
        return np.asarray(self.scores(self.fold_in(rows, values))[0], dtype=np.float32)


def confidence(strengths: npt.ArrayLike, weighting: str, alpha: float) -> npt.NDArray[np.float64]:
    """`alpha` times the weight of each strength: binary 1, log(1 + s), or s itself."""
    values = np.maximum(np.asarray(strengths, dtype=np.float64), 0.0)
    if weighting == "binary":
        weights = (values > 0).astype(np.float64)
    elif weighting == "log":
        weights = np.log1p(values)
    else:
        weights = values
    return np.asarray(alpha * weights, dtype=np.float64)


def write_factors(factors: ItemFactors, directory: Path, stem: str) -> None:
    """Write `<stem>.npy` (vectors with the multipliers as last column) and `<stem>.json`."""
    table = np.column_stack([factors.vectors, factors.multipliers]).astype(np.float32)
    np.save(directory / f"{stem}.npy", table, allow_pickle=False)
    description = {
        "format_version": FORMAT_VERSION,
        "item_ids": list(factors.item_ids),
        "regularization": factors.regularization,
        "alpha": factors.alpha,
        "weighting": factors.weighting,
        "half_life_days": factors.half_life_days,
    }
    (directory / f"{stem}.json").write_text(json.dumps(description), encoding="utf-8")


def read_factors(directory: Path, stem: str) -> ItemFactors:
    """The inverse of `write_factors`; raises `BrokenRelease` naming the file that cannot be read."""
    description = _read_description(directory / f"{stem}.json")
    array = directory / f"{stem}.npy"
    try:
        table = np.load(array, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BrokenRelease(array, f"cannot be read as an array ({error})") from error
    item_ids = tuple(map(str, description["item_ids"]))
    if table.ndim != 2 or table.shape[0] != len(item_ids) or table.shape[1] < 2:
        raise BrokenRelease(array, f"has shape {table.shape} for {len(item_ids)} items")
    if not np.isfinite(table).all():
        raise BrokenRelease(array, "holds values that are not finite")
    return ItemFactors(
        item_ids,
        np.ascontiguousarray(table[:, :-1], dtype=np.float32),
        np.ascontiguousarray(table[:, -1], dtype=np.float32),
        float(description["regularization"]),
        float(description["alpha"]),
        str(description["weighting"]),
        None if description["half_life_days"] is None else float(description["half_life_days"]),
    )


def _read_description(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BrokenRelease(path, f"cannot be read as JSON ({error})") from error
    if not isinstance(values, dict) or values.get("format_version") != FORMAT_VERSION:
        raise BrokenRelease(path, f"is not a description of item factors in format {FORMAT_VERSION}")
    missing = {"item_ids", "regularization", "alpha", "weighting", "half_life_days"} - values.keys()
    if missing:
        raise BrokenRelease(path, f"lacks {sorted(missing)[0]!r}")
    return values
