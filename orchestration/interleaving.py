"""The champion and a refused challenger before the same customers, in one list: clicks say who is better.

A share of the active customers (`ATTUNE_INTERLEAVED_SHARE`) gets lists that both versions drafted
(`training.experiments.interleaving`). Each item of such a list says who drafted it: its algorithm is
`ALGORITHM@VERSION`, for both alike, so that the log of what was shown carries the teams and no customer can
tell them apart. It needs far fewer customers than an experiment, and answers only which list is liked better.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from zlib import crc32

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from orchestration.data import Data
from orchestration.resources import Models
from orchestration.training_runs import stored_recommender
from training.candidates import BUY_AGAIN, COLLABORATIVE
from training.errors import NotEnoughData
from training.experiments.interleaving import Preference, preference, team_draft
from training.identifiers import UNKNOWN
from training.interactions import Interactions
from training.logged_decisions import read_impressions
from training.registry import ModelVersion
from training.top_items import Scorer, recommend

KIND = "collaborative"
ACTIVE_DAYS = 30
LOOK_BACK_DAYS = 60
TEAM_MARK = "@"


@dataclass(frozen=True)
class Rivals:
    """The version that serves and the one that the gate refused."""

    champion: ModelVersion
    challenger: ModelVersion


@dataclass(frozen=True)
class Contest:
    """What visitors preferred of the lists that two versions drafted; None while too few clicked."""

    champion_version: str
    challenger_version: str
    lists: int
    found: Preference | None

    @property
    def challenger_is_preferred(self) -> bool:
        """Whether visitors surely like what the challenger drafted better."""
        return self.found is not None and self.found.low > 0

    def __str__(self) -> str:
        pair = f"challenger {self.challenger_version} against champion {self.champion_version}"
        if self.found is None:
            return f"{pair}: {self.lists} lists of both were shown, too few visitors clicked on one"
        return (
            f"{pair}: {self.found.visitors} visitors clicked on one of {self.lists} lists, "
            f"{self.found.prefer_second} preferred the challenger, {self.found.prefer_first} the champion; "
            f"preference {self.found.preference:+.3f} ({self.found.low:+.3f} to {self.found.high:+.3f})"
        )


def rivals(models: Models) -> Rivals | None:
    """Who plays; None without a refused challenger."""
    registry = models.open()
    champion, challenger = registry.champion(KIND), registry.challenger(KIND)
    if champion is None or challenger is None or challenger.version == champion.version:
        return None
    return Rivals(champion, challenger)


def interleave(candidates: pa.Table, data: Data, models: Models, share: float, seed: int) -> pa.Table:
    """`candidates` with lists of both for `share` of the active customers; the same without two versions."""
    found = rivals(models) if share > 0 else None
    if found is None:
        return candidates
    interactions = data.interactions()
    scorer = stored_recommender(models.open(), found.challenger).scorer(interactions)
    users = players(interactions, share, found.challenger.version)
    coins = seed + data.until.toordinal()  # another toss every day
    return draft_lists(candidates, interactions, scorer, found, users, coins)


def active_customers(interactions: Interactions) -> npt.NDArray[np.int64]:
    """Positions of those who did something in the last days, ascending."""
    return np.asarray(np.unique(interactions.user[interactions.age_days <= ACTIVE_DAYS]), dtype=np.int64)


def players(interactions: Interactions, share: float, salt: str) -> npt.NDArray[np.int64]:
    """Positions of the active customers whose hash falls within `share`: the same ones every day."""
    active, names = active_customers(interactions), interactions.users.ids
    chosen = [crc32(f"{salt}:{names[user]}".encode()) < share * 2**32 for user in active]
    return np.asarray(active[np.array(chosen, dtype=bool)], dtype=np.int64)


def draft_lists(
    candidates: pa.Table,
    interactions: Interactions,
    challenger: Scorer,
    versions: Rivals,
    users: npt.NDArray[np.int64],
    seed: int,
) -> pa.Table:
    """Rows of `candidates` with the lists of `users` drafted by both.

    A drafted list is as long as the champion's was and has its scores, place by place: what counts on scores
    later treats both alike.
    """
    names = [interactions.users.ids[user] for user in users]
    items = np.array(interactions.items.ids, dtype=object)
    rng = np.random.default_rng(seed)
    rows = {user: place for place, user in enumerate(candidates["user_id"].to_pylist())}
    known = [(user, name) for user, name in zip(users, names, strict=True) if name in rows]
    columns = {name: candidates[name].to_pylist() for name in ("item_ids", "algorithms")}
    length = max((len(columns["item_ids"][rows[name]]) for _, name in known), default=0)
    if not length:
        return candidates
    theirs = recommend(challenger, np.array([user for user, _ in known], dtype=np.int64), length).positions
    bought = interactions.bought
    for (user, name), positions in zip(known, theirs, strict=True):
        place = rows[name]
        ours = columns["item_ids"][place]
        answers = dict(zip(ours, columns["algorithms"][place], strict=True))
        positions = positions[positions != UNKNOWN]
        history = set(bought[user].indices.tolist())
        answers |= {
            items[position]: BUY_AGAIN if position in history else COLLABORATIVE
            for position in positions.tolist()
            if items[position] not in answers
        }
        drafted, teams = team_draft(ours, items[positions].tolist(), len(ours), rng)
        both = (versions.champion.version, versions.challenger.version)
        columns["item_ids"][place] = drafted
        columns["algorithms"][place] = [
            f"{answers[item]}{TEAM_MARK}{both[team]}" for item, team in zip(drafted, teams, strict=True)
        ]
    for name, values in columns.items():
        at = candidates.schema.get_field_index(name)
        field = candidates.schema.field(at)
        candidates = candidates.set_column(at, field, pa.array(values, type=field.type))
    return candidates


def are_drafted(candidates: pa.Table) -> npt.NDArray[np.bool_]:
    """Whether each row's list was drafted by two versions."""
    lists = candidates["algorithms"].to_pylist()
    return np.array([bool(names) and TEAM_MARK in names[0] for names in lists], dtype=bool)


def judge(data: Data, models: Models) -> Contest | None:
    """What visitors preferred in the last days; None without a refused challenger."""
    found = rivals(models)
    if found is None:
        return None
    until = data.until + timedelta(days=1)
    shown = read_impressions(data.home.events, until - timedelta(days=LOOK_BACK_DAYS), until)
    return contest(shown, found.champion.version, found.challenger.version)


def contest(shown: pd.DataFrame, champion: str, challenger: str) -> Contest:
    """Credit for clicks in the lists of both versions; `shown` as `read_impressions` gives it."""
    version = shown["algorithm"].astype("string").str.partition(TEAM_MARK)[2]
    rows = shown[version.isin([champion, challenger])].assign(team=version)
    clicks = (
        rows.pivot_table("clicked", ["recommendation_id", "user_id"], "team", aggfunc="sum")
        .reindex(columns=[champion, challenger])
        .dropna()
        .astype(float)
    )
    try:
        preferred = preference(
            clicks.index.get_level_values("user_id").to_numpy(), clicks[champion], clicks[challenger]
        )
    except NotEnoughData:
        preferred = None
    return Contest(champion, challenger, len(clicks), preferred)
