"""What the gate needs of a home besides the model: the past alone, with nothing of the label window."""

from __future__ import annotations

import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from feature_repo.layout import Home
from feature_repo.store import open_store
from training.dataset import scoring_frame

PAST_FRAME_FILE = "past_frame.parquet"
PAST_CUSTOMERS = 1000


def write_past_frame(home: Home, cutoff: datetime, seed: int) -> Path:
    """Features of some customers at a cut-off, from tables that end there: the label window is not there.

    The marts are one file a day, so the past is a folder of links to the days before.
    """
    with tempfile.TemporaryDirectory(prefix="attune-past-") as place:
        past = Home(Path(place))
        for mart in ("user_daily", "user_features", "interactions_daily"):
            past.mart(mart).mkdir(parents=True)
            for file in home.mart(mart).resolve().glob("*.parquet"):
                if file.stem < f"{cutoff:%Y-%m-%d}":
                    (past.mart(mart) / file.name).symlink_to(file)
        frame = scoring_frame(_store_of(past, home), past.current_marts, cutoff)
    chosen = frame.sample(min(PAST_CUSTOMERS, len(frame)), random_state=seed)
    path = home.features / PAST_FRAME_FILE
    temporary = path.with_name(f".{path.name}")
    chosen.reset_index(drop=True).to_parquet(temporary, index=False)
    temporary.replace(path)
    return path


def _store_of(past: Home, home: Home) -> Any:
    """A feature store that knows the home's definitions and reads the past's files."""
    store = open_store(home)
    store.config.offline_store.root = str(past.root)
    return store


def read_past_frame(home: Home) -> pd.DataFrame | None:
    """What `write_past_frame` wrote for the present training frame."""
    path = home.features / PAST_FRAME_FILE
    return pd.read_parquet(path) if path.exists() else None
