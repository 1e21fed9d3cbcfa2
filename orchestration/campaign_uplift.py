"""What each campaign has taught about whom it moves: evidence for people, and expected margins for planning.

A campaign that holds customers out is an experiment. Once enough of its contacts have had their week, the
increment of each customer's revenue is learned, measured on customers that were not learned from, and, if
that proves it, predicted for everybody. Planning (`serving.campaigns`) then takes whom it pays to write to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from feature_repo.erasure import NOBODY, Erased
from orchestration.analysing import MESSAGE_DAYS, planned_share
from orchestration.data import Data
from orchestration.marts import READER_CONFIG
from orchestration.parquet_files import write_atomically
from orchestration.resources import Features
from orchestration.settings import Settings
from training.campaign_uplift import CampaignUplift, learn_campaign
from training.dataset import CUTOFF, with_features
from training.errors import NotEnoughData
from training.experiments.sample_ratio import sample_ratio
from training.uplift import Experiment
from training.value_config import VALUE_FEATURES

TREATED, HELD_OUT = "treated", "held_out"

EVIDENCE_SCHEMA = pa.schema(
    [
        pa.field("campaign_id", pa.string(), nullable=False),
        pa.field("customers", pa.int64(), nullable=False),
        pa.field("effect", pa.float64()),
        pa.field("effect_low", pa.float64()),
        pa.field("effect_high", pa.float64()),
        pa.field("qini", pa.float64()),
        pa.field("qini_low", pa.float64()),
        pa.field("qini_high", pa.float64()),
        pa.field("is_used", pa.bool_(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
    ]
)
"""One row per campaign with customers held out. `effect`: of a message on the revenue of the week after, a
customer; null where nothing could be learned. `is_used`: planning goes by it; `reason`: why, or why not."""

MARGINS_SCHEMA = pa.schema(
    [
        pa.field("campaign_id", pa.string(), nullable=False),
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("incremental_margin", pa.float64(), nullable=False),
    ]
)
"""What a message is expected to earn with the customer, before its own cost; may be below 0."""

FIRST_CONTACTS = """
    select campaign_id, user_id, event_date, arm, revenue
    from read_parquet($contacts)
    where event_date <= $closed
    qualify row_number() over (partition by campaign_id, user_id order by event_date) = 1
    order by campaign_id, event_date, user_id
"""


@dataclass(frozen=True)
class Lesson:
    """What one campaign taught; `learned` is None where `reason` says why nothing was."""

    campaign: str
    customers: int
    learned: CampaignUplift | None
    reason: str

    @property
    def is_used(self) -> bool:
        """Whether planning goes by it."""
        return self.learned is not None and self.learned.ranks

    def row(self) -> dict[str, Any]:
        """A row of EVIDENCE_SCHEMA."""
        found: dict[str, Any] = {}
        if self.learned is not None:
            for name in ("effect", "qini"):
                estimate = getattr(self.learned, name)
                found |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
        return {
            "campaign_id": self.campaign,
            "customers": self.customers,
            "is_used": self.is_used,
            "reason": self.reason,
            **found,
        }


def learn_uplift(
    data: Data, settings: Settings, features: Features, erased: Erased = NOBODY
) -> dict[str, Any]:
    """Writes `analysis/campaign_uplift` and `campaigns/uplift`; says how many campaigns taught what."""
    lessons = list(learn(data, settings, features))
    used = [lesson for lesson in lessons if lesson.is_used]
    frame = features.scoring_frame(data.as_of) if used else pd.DataFrame()
    margins = [
        pa.table(
            {
                "campaign_id": pa.array([lesson.campaign] * len(frame), pa.string()),
                "user_id": pa.array(frame["user_id"], pa.string()),
                "incremental_margin": settings.retention_offer.margin_share
                * lesson.learned.model.predict(frame[list(VALUE_FEATURES)]),
            },
            MARGINS_SCHEMA,
        )
        for lesson in used
        if lesson.learned is not None
    ]
    table = pa.concat_tables([MARGINS_SCHEMA.empty_table(), *margins])
    evidence = pa.Table.from_pylist([lesson.row() for lesson in lessons], EVIDENCE_SCHEMA)
    write_atomically(data.home.analysis("campaign_uplift"), evidence)
    write_atomically(data.home.campaign_uplift, table.filter(pa.array(~erased.mask(table["user_id"]))))
    return {
        "campaigns": len(lessons),
        "learned": sum(lesson.learned is not None for lesson in lessons),
        "used": len(used),
        "reasons": "; ".join(f"{lesson.campaign}: {lesson.reason}" for lesson in lessons) or "no campaign",
    }


def learn(data: Data, settings: Settings, features: Features) -> Iterator[Lesson]:
    """A lesson of every campaign with contacts whose week is over, by name."""
    for campaign, contacts in first_contacts(data, data.until - timedelta(days=MESSAGE_DAYS)).groupby(
        "campaign_id", sort=True
    ):
        name, counts = str(campaign), contacts["arm"].value_counts()
        if not {TREATED, HELD_OUT} <= set(counts.index):
            continue
        share = planned_share(data.home, name)
        if share is None:
            yield Lesson(name, len(contacts), None, "its control share is not known, or was changed")
        elif sample_ratio(dict(counts), {TREATED: 1 - share, HELD_OUT: share}).is_mismatch:
            yield Lesson(name, len(contacts), None, "its arms do not have their planned shares")
        else:
            yield taught(name, contacts, share, settings.seed, features)


def first_contacts(data: Data, closed: date) -> pd.DataFrame:
    """Each customer's first contact of each campaign, up to the day whose window is closed."""
    with duckdb.connect(config=READER_CONFIG) as connection:
        values = {"contacts": data.home.mart_glob("campaign_contacts"), "closed": closed}
        return connection.execute(FIRST_CONTACTS, values).df()


def taught(name: str, contacts: pd.DataFrame, share: float, seed: int, features: Features) -> Lesson:
    """What these first contacts teach, with features as of the start of their day."""
    days = pd.to_datetime(contacts["event_date"], utc=True).dt.as_unit("us")
    known = with_features(features.open(), contacts.assign(**{CUTOFF: days}))
    treated = (known["arm"] == TREATED).to_numpy(dtype=bool)
    propensity = np.full(len(known), 1.0 - share)
    revenue = known["revenue"].to_numpy(dtype=np.float64)
    try:
        learned = learn_campaign(Experiment(known[list(VALUE_FEATURES)], treated, revenue, propensity), seed)
    except NotEnoughData as error:
        return Lesson(name, len(known), None, str(error))
    reason = "it tells who reacts more" if learned.ranks else "whom it moves more is not proved"
    return Lesson(name, len(known), learned, reason)
