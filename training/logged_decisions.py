"""What recommendations were shown, how likely each was, and what became of it: the log, for evaluation.

**Rows.** One per shown item, from `recommendation_served` events. A reward is a click that carries the
decision's id, or a purchase of the item by the same visitor within `horizon_days`. Only places that were open
to exploration tell anything about another policy (`explored_places`): a pinned item is there whatever ranks.

**Policies that are lists.** A recommender gives each user a ranked list, while the log explores a place at a
time. `list_target` follows Li et al. 2018 ("Offline Evaluation of Ranking Policies with Click Models") with
the position-based model: whether a place is looked at (`examination`) and whether the item appeals are
independent. An item's propensity is then its chance to be looked at under the log, its target probability
the same under the list, each as a share of the decision's looks. So a list that moves an item from place 3
to place 1 can be judged, which place by place it could not.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Literal

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd

from training.errors import NotEnoughData
from training.off_policy import (
    LoggedRewards,
    OffPolicyConfig,
    OffPolicyResult,
    Target,
    evaluate_policy,
    policy_difference,
)

FloatArray = npt.NDArray[np.float64]
Reward = Literal["clicked", "bought", "revenue"]

KINDS = ("recommendations",)
HORIZON_DAYS = 7
DECAYS = np.linspace(0.0, 3.0, 61)
USUAL_DECAY, DECAY_SPREAD = 1.0, 0.5
PRIOR_LOOKS = 20.0
REWARD_FOLDS = 2

_EMPTY = """
    select null::varchar as recommendation_id, null::varchar as user_id, null::varchar as item_id,
        null::bigint as position, null::double as propensity, null::varchar as release,
        null::varchar as algorithm, null::timestamptz as shown_at,
        false as clicked, false as bought, 0.0::double as revenue
    where false
"""
_IMPRESSIONS = """
with events as (
    select *, coalesce(user_id, anonymous_id) as visitor_id
    from read_parquet($files, hive_partitioning = false, union_by_name = true)
    where event_at >= $start and event_at < $ends
        and event_type in ('recommendation_served', 'recommendation_click', 'purchase')
),
shown as (
    select
        recommendation_id, visitor_id, item_id, event_at as shown_at,
        cast(json_extract_string(context, '$.position') as bigint) as position,
        cast(json_extract_string(context, '$.propensity') as double) as propensity,
        json_extract_string(context, '$.release') as release,
        json_extract_string(context, '$.algorithm') as algorithm
    from events
    where event_type = 'recommendation_served' and event_at < $until and recommendation_id is not null
        and visitor_id is not null and json_extract_string(context, '$.propensity') is not null
        and list_contains($kinds, json_extract_string(context, '$.kind'))
    qualify row_number() over (partition by recommendation_id, item_id order by position) = 1
),
clicks as (
    select distinct recommendation_id, item_id from events where event_type = 'recommendation_click'
),
purchases as (
    select
        shown.recommendation_id, shown.item_id,
        sum(coalesce(quantity, 1.0) * coalesce(price, 0.0)) as revenue
    from shown
    inner join events on events.event_type = 'purchase' and events.visitor_id = shown.visitor_id
        and events.item_id = shown.item_id and events.event_at > shown.shown_at
        and events.event_at <= shown.shown_at + to_days($horizon)
    group by 1, 2
)
select
    shown.recommendation_id, shown.visitor_id as user_id, shown.item_id,
    position, propensity, release, algorithm, shown_at,
    clicks.item_id is not null as clicked,
    purchases.item_id is not null as bought,
    coalesce(purchases.revenue, 0.0) as revenue
from shown
left join clicks using (recommendation_id, item_id)
left join purchases using (recommendation_id, item_id)
order by shown_at, recommendation_id, position
"""


def read_impressions(
    events: Path,
    start: date,
    until: date,
    horizon_days: int = HORIZON_DAYS,
    kinds: Collection[str] = KINDS,
) -> pd.DataFrame:
    """Items shown on the days [start, until), with `clicked`, `bought` and `revenue` (the shop's currency).

    `events` is the folder of landed days. Rewards count up to `horizon_days` after the item was shown, so
    `until` should lie that much before the end of the data. Without any such event: no rows.
    """
    first, last = (datetime.combine(day, time(), UTC) for day in (start, until))
    days = [start + timedelta(days=number) for number in range((until - start).days + horizon_days + 1)]
    files = [
        str(path)
        for day in days
        for path in sorted((events / f"event_date={day.isoformat()}").glob("*.parquet"))
    ]
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("set TimeZone = 'UTC'")
        if not files:
            return connection.execute(_EMPTY).df()
        values = {
            "files": files,
            "start": first,
            "until": last,
            "ends": last + timedelta(days=horizon_days),
            "horizon": horizon_days,
            "kinds": list(kinds),
        }
        return connection.execute(_IMPRESSIONS, values).df()


def explored_places(impressions: pd.DataFrame) -> pd.DataFrame:
    """The rows at places that were open to exploration, with `place`: 1, 2, ... among those of the decision.

    A propensity of 1 marks a place that was not: pinned, or of a decision that explored nothing.
    Exploration is taken to be rarer than one half, which tells a place's ranked item from a drawn one.
    """
    rows = impressions[impressions["propensity"] < 1.0].sort_values(["recommendation_id", "position"])
    place = rows.groupby("recommendation_id", sort=False).cumcount() + 1
    return rows.assign(place=place.to_numpy(dtype=np.int64)).reset_index(drop=True)


def examination(rows: pd.DataFrame, reward: Reward = "clicked") -> float:
    """The exponent of place ** -exponent that explains where explored items are rewarded.

    What is explored is spread over the places at random, so that appeal does not depend on place. Maximum of
    the multinomial likelihood with a normal prior around 1, which decides alone where nothing was explored.
    """
    drawn = rows[~_is_ranked(rows)]
    looks = np.bincount(drawn["place"], minlength=2)[1:].astype(np.float64)
    hits = np.bincount(drawn["place"], drawn[reward] > 0, minlength=2)[1:]
    places = np.arange(1, len(looks) + 1)
    shares = looks * places ** -DECAYS[:, None] + 1e-12
    shares /= shares.sum(axis=1, keepdims=True)
    evidence = (hits * np.log(shares)).sum(axis=1) - ((DECAYS - USUAL_DECAY) / DECAY_SPREAD) ** 2 / 2.0
    return float(DECAYS[np.argmax(evidence)])


@dataclass(frozen=True)
class ListPolicy:
    """A list policy against a log, for `training.off_policy`; `served` is the log's own, to compare with."""

    logged: LoggedRewards
    target: Target
    served: Target
    decay: float


def list_policy(
    rows: pd.DataFrame,
    lists: Mapping[str, Sequence[str]],
    reward: Reward = "clicked",
    decay: float | None = None,
) -> ListPolicy:
    """The policy that shows each user `lists[user_id]` at the places of `explored_places`' rows.

    Users without a list are left out. A list's first items go to the first open places. `decay` is the
    exponent of `examination`, estimated from the rows if not given. Expectations for "dr" come from item
    rates, shrunk to the mean and fitted on the other users. Raises NotEnoughData if no row is left.
    """
    rows = rows[rows["user_id"].isin(lists)].reset_index(drop=True)
    if rows.empty:
        raise NotEnoughData(
            "explored places of users with a list", 0, 1, "serve with exploration and land the log"
        )
    decay = examination(rows, reward) if decay is None else decay
    looks = rows["place"].to_numpy(dtype=np.float64) ** -decay
    decision, _ = pd.factorize(rows["recommendation_id"])
    total = np.bincount(decision, looks)[decision]
    propensity = rows["propensity"].to_numpy(dtype=np.float64)
    logged_looks = propensity * np.where(_is_ranked(rows), looks, total)
    wanted_place = _places_in_lists(rows, lists)
    depth = np.bincount(decision)[decision]
    is_wanted = (wanted_place > 0) & (wanted_place <= depth)
    target_looks = np.where(is_wanted, np.maximum(wanted_place, 1).astype(np.float64) ** -decay, 0.0)
    user, _ = pd.factorize(rows["user_id"])
    value = rows[reward].to_numpy(dtype=np.float64)
    here = _items_at_places(rows, lists)
    shown_appeal, wanted_appeal = _appeal(user, rows["item_id"].to_numpy(), here, value, looks)
    expected = looks * shown_appeal
    logged = LoggedRewards(user, value, logged_looks / total, looks)
    target = Target(target_looks / total, expected, looks * wanted_appeal * (here != ""))
    served = Target(logged.propensity, expected, expected)
    return ListPolicy(logged, target, served, decay)


@dataclass(frozen=True)
class LoggedValues:
    """Reward per shown item of a candidate's lists, of what was served, and what the first adds."""

    candidate: OffPolicyResult
    served: OffPolicyResult
    gain: OffPolicyResult

    @property
    def notes(self) -> list[str]:
        """Sentences for a report."""
        return [
            f"Off-policy, reward per shown item: candidate {self.candidate}.",
            f"Off-policy, what was served: {self.served}.",
            f"Off-policy, gain over what was served: {self.gain}.",
        ]


def judge_lists(
    rows: pd.DataFrame,
    lists: Mapping[str, Sequence[str]],
    reward: Reward = "clicked",
    config: OffPolicyConfig | None = None,
) -> LoggedValues:
    """Doubly robust values of `list_policy`. The lists' model must not have seen the rows' days."""
    policy = list_policy(rows, lists, reward)
    return LoggedValues(
        evaluate_policy(policy.logged, policy.target, "dr", config),
        evaluate_policy(policy.logged, policy.served, "dr", config),
        policy_difference(policy.logged, policy.target, policy.served, "dr", config),
    )


def _is_ranked(rows: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Whether a row shows the ranked item of its place: exploration draws each other item far less often."""
    return np.asarray(rows["propensity"].to_numpy(dtype=np.float64) >= 0.5)


def _places_in_lists(rows: pd.DataFrame, lists: Mapping[str, Sequence[str]]) -> npt.NDArray[np.int64]:
    """The place (from 1) of each row's item in its user's list; 0 if it is not there."""
    places = {
        user: {item: place for place, item in enumerate(lists[user], 1)} for user in rows["user_id"].unique()
    }
    pairs = zip(rows["user_id"], rows["item_id"], strict=True)
    return np.fromiter((places[user].get(item, 0) for user, item in pairs), dtype=np.int64, count=len(rows))


def _items_at_places(rows: pd.DataFrame, lists: Mapping[str, Sequence[str]]) -> npt.NDArray[np.object_]:
    """What the list has at each row's place; "" where it is too short."""
    pairs = zip(rows["user_id"], rows["place"], strict=True)
    found = [lists[user][place - 1] if place <= len(lists[user]) else "" for user, place in pairs]
    return np.asarray(found, dtype=object)


def _appeal(
    user: npt.NDArray[np.int64],
    shown: npt.NDArray[np.object_],
    wanted: npt.NDArray[np.object_],
    value: FloatArray,
    looks: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """The mean reward of a look at each row's shown and wanted item, from the users of the other fold."""
    items, codes = np.unique(np.concatenate([shown, wanted]).astype(str), return_inverse=True)
    shown_code, wanted_code = codes[: len(shown)], codes[len(shown) :]
    found = np.zeros(len(shown)), np.zeros(len(shown))
    for fold in range(REWARD_FOLDS):
        here = user % REWARD_FOLDS == fold
        others = ~here if (~here).any() else here
        mean = value[others].sum() / looks[others].sum()
        sums = np.bincount(shown_code[others], value[others], minlength=len(items))
        seen = np.bincount(shown_code[others], looks[others], minlength=len(items))
        rate = (sums + PRIOR_LOOKS * mean) / (seen + PRIOR_LOOKS)
        found[0][here], found[1][here] = rate[shown_code[here]], rate[wanted_code[here]]
    return found
