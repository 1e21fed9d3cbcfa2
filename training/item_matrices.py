"""Item matrices of fitted sources, kept from run to run: the same history gives the same matrix.

A linear source (`training.sources.linear`) forms a matrix over items from everybody's history. To form it is
the dearest part of ranking the few customers whom a day changed, and most days change nothing in it: it is as
of the day of the last full fit (`training.updates`). It holds items only, never a row of a customer.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from training.sources.history import History, Single
from training.sources.linear import LinearScorer, ProfileConfig
from training.sources.portfolio import SourceConfig, SourceScorer

logger = logging.getLogger(__name__)

MOST_BYTES = 256 * 2**20
"""A larger matrix is formed again: to keep one for every source would fill the disk."""
PROFILE, WEIGHTS, DENSE = "profile.json", "item_weights.npy", "dense.npy"
SPARSE = ("data", "indices", "indptr")


@dataclass(frozen=True)
class ItemMatrices:
    """The matrices of one history in a folder, each below the digest of source, history and seed."""

    folder: Path
    history: History
    seed: int
    _used: set[Path] = field(default_factory=set)

    def fit(self, source: SourceConfig) -> SourceScorer:
        """The source fitted on the history; its matrix is read from the folder, or put there."""
        place = self.folder / _digest(repr((source, self.seed)).encode(), self._history_digest)
        self._used.add(place)
        if place.exists():
            try:
                return read_scorer(place, source.name, self.history)
            except (OSError, ValueError) as damage:  # such as a file that a power cut left short
                logger.warning("%s cannot be read (%s); its matrix is formed again", place, damage)
                shutil.rmtree(place)
        scorer = source.fit(self.history, self.seed)
        if isinstance(scorer, LinearScorer) and scorer.right is None and _size(scorer.left) <= MOST_BYTES:
            write_scorer(place, scorer)
        return scorer

    def forget_others(self) -> None:
        """Removes what this history and these sources do not need."""
        if self.folder.exists():
            for outdated in set(self.folder.iterdir()) - self._used:
                shutil.rmtree(outdated)

    @cached_property
    def _history_digest(self) -> bytes:
        known = self.history
        columns = (known.user, known.item, known.at, known.step, known.quantity, known.now)
        return _digest(
            repr((known.shape, known.clock, known.end)).encode(), *map(np.ascontiguousarray, columns)
        ).encode()


def write_scorer(place: Path, scorer: LinearScorer) -> None:
    """Puts the scorer's matrix and weights at `place` in one step."""
    making = place.with_name(f".{place.name}-{os.getpid()}")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    if sparse.issparse(scorer.left):
        for part in SPARSE:
            np.save(making / f"{part}.npy", getattr(scorer.left, part))
    else:
        np.save(making / DENSE, scorer.left)
    if scorer.item_weights is not None:
        np.save(making / WEIGHTS, scorer.item_weights)
    (making / PROFILE).write_text(json.dumps(asdict(scorer.config)), encoding="utf-8")
    making.replace(place)


def read_scorer(place: Path, name: str, history: History) -> LinearScorer:
    """What `write_scorer` wrote, for the users of `history`; the matrix is read where it is used."""
    config = ProfileConfig(**json.loads((place / PROFILE).read_text(encoding="utf-8")))
    weights = np.load(place / WEIGHTS) if (place / WEIGHTS).exists() else None
    return LinearScorer(name, config, config.of(history), _read(place), item_weights=weights)


def _read(place: Path) -> sparse.csr_matrix | Single:
    if (place / DENSE).exists():
        return np.load(place / DENSE, mmap_mode="r")
    data, indices, indptr = (np.load(place / f"{part}.npy", mmap_mode="r") for part in SPARSE)
    items = len(indptr) - 1
    return sparse.csr_matrix((data, indices, indptr), shape=(items, items), copy=False)


def _size(matrix: sparse.csr_matrix | Single) -> int:
    return sum(getattr(matrix, part).nbytes for part in SPARSE) if sparse.issparse(matrix) else matrix.nbytes


def _digest(*parts: Any) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
