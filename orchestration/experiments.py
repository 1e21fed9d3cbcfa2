"""Experiments: from the published marts to one published result each.

What counts is in the marts `experiment_user_daily` (who met what, and the rest of that day) and `user_daily`
(the days after); what was decided beforehand is in the operational store; what was known of a user before
their first exposure comes from Feast. The statistics are `training.experiments`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pandas as pd
import sqlalchemy as sa

from feature_repo.entities import USER_ID
from feature_repo.erasure import store_exists
from feature_repo.event_log import open_engine
from feature_repo.layout import Home
from feature_repo.loyalty import LoyaltyRules
from orchestration.marts import READER_CONFIG, current_manifest
from orchestration.resources import Features

if TYPE_CHECKING:
    from feast import FeatureStore

    from training.experiments.metrics import Metric
    from training.experiments.report import Design, Observed

logger = logging.getLogger(__name__)

MART = "experiment_user_daily"
SERVICE = "clv_v1"
COVARIATES = ("spend_decay_90d", "orders_decay_90d", "events_decay_30d", "events_decay_7d")
SEGMENTS = ("customer_tier", "device_type", "traffic_source")
UNKNOWN = "unknown"
HOLDOUT, HELD_OUT, INCLUDED = "holdout", "held_out", "included"
HOLDOUT_METRICS = (
    "revenue_per_visitor",
    "conversion_rate",
    "engagement_score",
    "retention_rate",
    "mean_rating",
    "return_share",
)
DEFAULT_METRICS = ("conversion_rate", "click_through_rate", "revenue_per_visitor")
PERIODS = {"30_days": 30}
"""Trailing periods over which the holdout is compared, too."""
SIMULATED = "false_positives.json"
SIMULATED_TESTS = 2000
EPOCH = date(1970, 1, 1)
NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")


def publish_results(
    home: Home, features: Features, url: sa.URL, sample_size: int, tests: int = SIMULATED_TESTS
) -> dict[str, int]:
    """Writes the result of every experiment that somebody met; experiment -> users. None: costs nothing.

    `sample_size`: users that an experiment asks for in each variant, unless it says otherwise.
    """
    manifest = current_manifest(home)
    if manifest is None or manifest.data_until is None or not manifest.rows.get(MART):
        return {}
    from training.experiments.metrics import read_metrics
    from training.experiments.report import report

    metrics = read_metrics(home.experiment_metrics_file)
    definitions = read_definitions(url)
    store = features.open()
    users: dict[str, int] = {}
    for experiment_id in exposed_experiments(home):
        frame = user_frame(home, experiment_id, metrics)
        design = design_of(experiment_id, frame, definitions.get(experiment_id), metrics, sample_size)
        if len(design.shares) < 2:
            continue
        frame = with_features(store, frame)
        wanted = (*design.metrics, *design.guardrails)
        found = report(
            design,
            observed(design, frame, manifest.data_until),
            lambda day: (EPOCH + timedelta(days=day)).isoformat(),
            false_positives(home, wanted, tests),
        )
        if experiment_id == HOLDOUT:
            found["periods"] = periods(home, store, design, manifest.data_until)
        write_json(home.experiment_result(experiment_id), found | {"marts": manifest.id})
        users[experiment_id] = len(frame)
    return users


def periods(home: Home, store: FeatureStore, design: Design, until: date) -> dict[str, dict[str, Any]]:
    """What everybody who ever met the experiment did in the last days, by name of the period."""
    from training.experiments.metrics import OF_PERIOD
    from training.experiments.report import compare_period

    chosen = replace(design, metrics=OF_PERIOD, guardrails=())
    found = {}
    for name, days in PERIODS.items():
        since = until - timedelta(days=days - 1)
        frame = with_features(store, user_frame(home, design.experiment_id, OF_PERIOD, since))
        span = {"from": since.isoformat(), "until": until.isoformat()}
        found[name] = span | compare_period(chosen, observed(chosen, frame, until))
    return found


def exposed_experiments(home: Home) -> list[str]:
    """Every experiment with an exposure, by name; names that no experiment can have are left out.

    An event may name anything, and a name becomes that of a file.
    """
    names = [str(name) for name in _query(home, EXPOSED)["experiment_id"]]
    strange = [name for name in names if not NAME.fullmatch(name)]
    if strange:
        logger.warning("%s experiments have names that cannot be used, such as %r", len(strange), strange[0])
    return [name for name in names if NAME.fullmatch(name)]


def user_frame(
    home: Home, experiment_id: str, metrics: Sequence[Metric], since: date | None = None
) -> pd.DataFrame:
    """One row per user who met the experiment, by user: the first variant, and sums for each metric.

    `n_<metric>` and `d_<metric>`: numerator and denominator within the metric's window; with `since` over all
    days from that one on, however long ago the user met the experiment.
    """
    sums = []
    for metric in metrics:
        window = f"day_number between {metric.from_day} and {metric.closes_after_days - 1}"
        if since is not None:
            window = f"event_date >= date '{since}'"
        sums.append(f'coalesce(sum({metric.numerator}) filter ({window}), 0)::double as "n_{metric.name}"')
        if metric.denominator:
            sums.append(
                f'coalesce(sum({metric.denominator}) filter ({window}), 0)::double as "d_{metric.name}"'
            )
    kept = f"day_number < {max(metric.closes_after_days for metric in metrics)}"
    if since is not None:
        kept = f"day_number = 0 or event_date >= date '{since}'"
    return _query(home, USERS.format(sums=",\n".join(sums), kept=kept), experiment_id)


EXPOSED = """
    select distinct experiment_id from meetings where first_exposed_at is not null and variant is not null
    order by 1
"""
USERS = """
    with firsts as (
        select * from meetings
        where experiment_id = $1 and first_exposed_at is not null and variant is not null
        qualify row_number() over (partition by user_id order by first_exposed_at) = 1
    ),
    acts as (
        select
            user_id, event_date, event_count, 1 as visit_count, 1 as active_day_count, view_count, cart_count,
            order_count, unit_count, spend, return_amount, rating_count, rating_sum,
            recommendation_view_count, recommendation_click_count, reported_after_count as reported_count,
            reported_after_value as reported_value
        from firsts
        union all by name
        select
            days.user_id, days.event_date, event_count, visit_count, 1 as active_day_count, view_count,
            cart_count, order_count, unit_count, spend, return_amount, rating_count, rating_sum,
            recommendation_view_count, recommendation_click_count
        from days semi join firsts on days.user_id = firsts.user_id and days.event_date > firsts.event_date
        union all by name
        select meetings.user_id, meetings.event_date, meetings.reported_count, meetings.reported_value
        from meetings inner join firsts
            on meetings.user_id = firsts.user_id and meetings.event_date > firsts.event_date
        where meetings.experiment_id = $1
    ),
    numbered as (
        select acts.*, acts.event_date - firsts.event_date as day_number
        from acts inner join firsts using (user_id)
    ),
    sums as (
        select user_id,
        {sums}
        from numbered where {kept} group by user_id
    )
    select
        firsts.user_id, firsts.variant, firsts.first_exposed_at,
        firsts.event_date - date '1970-01-01' as exposed_day, firsts.propensity,
        coalesce(firsts.device_type, 'unknown') as device_type,
        coalesce(firsts.traffic_source, 'unknown') as traffic_source, sums.* exclude (user_id)
    from firsts inner join sums using (user_id) order by firsts.user_id
"""


def with_features(store: FeatureStore, frame: pd.DataFrame) -> pd.DataFrame:
    """Adds covariates and the loyalty tier as they were known at the first exposure; null for newcomers."""
    from feature_repo.derived import derive_user
    from feature_repo.store import EVENT_TIMESTAMP, retrieve

    at = pd.to_datetime(frame["first_exposed_at"], utc=True).dt.as_unit("us")
    known = retrieve(store, SERVICE, pd.DataFrame({USER_ID: frame[USER_ID], EVENT_TIMESTAMP: at}))
    known = known.sort_values(USER_ID, ignore_index=True)
    derived = derive_user({str(name): known[name] for name in known}, known[EVENT_TIMESTAMP])
    rules = LoyaltyRules()
    tiers = [
        rules.tier(orders, recent) or UNKNOWN
        for orders, recent in zip(
            known["order_count"].to_numpy(dtype=float, na_value=np.nan),
            derived["orders_decay_90d"],
            strict=True,
        )
    ]
    return frame.assign(customer_tier=tiers, **{name: derived[name] for name in COVARIATES})


def design_of(
    experiment_id: str,
    frame: pd.DataFrame,
    definition: Mapping[str, Any] | None,
    metrics: Sequence[Metric],
    sample_size: int,
) -> Design:
    """What was decided beforehand; of an experiment that is defined elsewhere, what its exposures show."""
    from training.experiments.metrics import GUARDRAILS, by_name
    from training.experiments.report import Design

    known = by_name(metrics)
    guardrails = tuple(known[name] for name in GUARDRAILS if known[name].margin is not None)
    if definition is not None:
        weights = {str(each["name"]): float(each["weight"]) for each in definition["variants"]}
        total = sum(weights.values())
        return Design(
            experiment_id,
            {name: weight / total for name, weight in weights.items() if weight > 0},
            tuple(known[name] for name in definition["metrics"]),
            guardrails,
            int(definition.get("sample_size") or sample_size),
            str(definition.get("mode") or "fixed"),
        )
    names = sorted(frame["variant"].unique(), key=lambda name: (name not in ("control", HELD_OUT), name))
    logged = frame.groupby("variant")["propensity"].mean().fillna(1 / len(names))
    chosen = HOLDOUT_METRICS if experiment_id == HOLDOUT else DEFAULT_METRICS
    return Design(
        experiment_id,
        {str(name): float(logged[name]) for name in names},
        tuple(known[name] for name in chosen),
        guardrails,
        sample_size,
    )


def observed(design: Design, frame: pd.DataFrame, until: date) -> Observed:
    """The users of each variant, as the statistics take them."""
    from training.experiments.analysis import Users
    from training.experiments.cuped import covariate_matrix
    from training.experiments.report import Observed

    covariates = covariate_matrix(frame[list(COVARIATES)].to_numpy(dtype=float))
    arms = {name: (frame["variant"] == name).to_numpy() for name in design.shares}
    segments = {name: frame[name].to_numpy(dtype=object) for name in SEGMENTS}
    days = frame["exposed_day"].to_numpy(dtype=np.int64)

    def users(metric: Metric, chosen: np.ndarray) -> Users:
        below = frame[f"d_{metric.name}"].to_numpy(dtype=float)[chosen] if metric.denominator else None
        return Users(
            days[chosen],
            frame[f"n_{metric.name}"].to_numpy(dtype=float)[chosen],
            below,
            covariates[chosen],
            {name: values[chosen] for name, values in segments.items()},
        )

    propensities = frame["propensity"].fillna(1 / len(design.shares)).to_numpy(dtype=np.float64)
    return Observed(
        {
            metric.name: {name: users(metric, chosen) for name, chosen in arms.items()}
            for metric in (*design.metrics, *design.guardrails)
        },
        {str(name): int(count) for name, count in frame["variant"].value_counts().items()},
        (until - EPOCH).days,
        {name: propensities[chosen] for name, chosen in arms.items()},
    )


def read_definitions(url: sa.URL) -> dict[str, dict[str, Any]]:
    """Experiment -> its definition in the operational store; none where there is no store yet."""
    if not store_exists(url):
        return {}
    engine = open_engine(url)
    try:
        with engine.connect() as connection:
            if not sa.inspect(connection).has_table("experiments"):
                return {}
            rows = connection.execute(sa.text("select experiment_id, definition from experiments"))
            return {str(name): json.loads(definition) for name, definition in rows}
    finally:
        engine.dispose()


def false_positives(home: Home, metrics: Sequence[Metric], tests: int) -> dict[str, dict[str, float]]:
    """What simulated A/A tests show for each metric; simulated once per metric and version of the code."""
    from training.experiments.false_positives import Simulation, simulate

    simulation = Simulation(tests)
    path = home.experiment_results / SIMULATED
    kept: dict[str, dict[str, float]] = json.loads(path.read_text()) if path.exists() else {}
    found = {}
    for metric in metrics:
        key = hashlib.sha256(
            json.dumps([asdict(metric), asdict(simulation), _code()], sort_keys=True).encode()
        ).hexdigest()[:16]
        if key not in kept:
            kept[key] = simulate(metric, simulation).to_dict()
            write_json(path, kept)
        found[metric.name] = kept[key]
    return found


def _code() -> str:
    """Hash of the modules that a simulated test runs through."""
    import training.experiments

    digest = hashlib.sha256()
    for path in sorted(Path(training.experiments.__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Replaces a file in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    temporary.write_text(json.dumps(values, allow_nan=False), encoding="utf-8")
    temporary.replace(path)


def _query(home: Home, sql: str, *values: object) -> pd.DataFrame:
    with duckdb.connect(config=READER_CONFIG) as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.read_parquet(home.mart_glob(MART)).create_view("meetings")
        connection.read_parquet(home.mart_glob("user_daily")).create_view("days")
        return connection.execute(sql, list(values)).df()
