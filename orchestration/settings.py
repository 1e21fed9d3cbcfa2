"""Environment -> frozen settings of one run, read once per process; a wrong value stops the start.

`VARIABLES` is the list of everything that this package reads. `.env.example` and the compose file are tied
to it by a contract test.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit, urlunsplit

import sqlalchemy as sa

from feature_repo.errors import UnusableDatabase
from feature_repo.event_log import operational_url
from feature_repo.layout import Home
from feature_repo.mail import smtp_remedy
from feature_repo.webhook import address_remedy
from orchestration.errors import SettingsError, SourceError
from orchestration.retention import Retention, read_retention
from orchestration.sources.base import SOURCE_NAMES, parse_sources
from training.errors import InvalidConfig
from training.value_config import RetentionConfig, SegmentConfig

Config = TypeVar("Config", RetentionConfig, SegmentConfig)
OFFER_FIELDS = {"ATTUNE_SAVE_RATE": "save_rate", "ATTUNE_SAVE_COST": "cost"}
SEGMENT_FIELDS = {
    "ATTUNE_VALUE_HIGH": "value_high",
    "ATTUNE_VALUE_LOW": "value_low",
    "ATTUNE_AT_RISK_FROM": "at_risk_from",
    "ATTUNE_CHURNED_FROM": "churned_from",
}
LOG_LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True)
class Variable:
    """One environment variable: its default as text (empty: unset) and what it means."""

    name: str
    default: str
    meaning: str


VARIABLES = (
    Variable("ATTUNE_HOME", ".attune", "state directory of this installation"),
    Variable(
        "ATTUNE_SOURCE", "", f"sources of scheduled and UI runs, comma separated: {', '.join(SOURCE_NAMES)}"
    ),
    Variable("ATTUNE_SOURCE_PATH", "", "where that source lies; event_log needs none"),
    Variable("ATTUNE_FIRST_DAY", "2000-01-01", "first daily partition; older events are refused"),
    Variable("ATTUNE_SCHEDULE", "0 3 * * *", "cron expression (UTC) of the daily run"),
    Variable("ATTUNE_CUTOFFS", "4", "rolling cut-offs on which models are measured, 1 to 12"),
    Variable(
        "ATTUNE_RETRAIN_DAYS",
        "7",
        "train when the champion is this many days of data old, or has drifted; 0: on every change of data",
    ),
    Variable(
        "ATTUNE_INTERLEAVED_SHARE",
        "0",
        "share of active customers whose lists a refused challenger drafts too, 0 to 0.5",
    ),
    Variable(
        "AB_TEST_SAMPLE_SIZE", "1000", "visitors that an experiment asks for in each variant, 10 to 100000000"
    ),
    Variable("ATTUNE_SEED", "42", "seed of every fit"),
    Variable("ATTUNE_KEEP_RELEASES", "5", "releases kept on disk, 2 to 100"),
    Variable("ATTUNE_RETENTION", "", "YAML file with the days that data is kept; unset: built-in ones"),
    Variable("ATTUNE_VALUE_HIGH", "1000", "spend expected in 90 days above which a customer's value is high"),
    Variable("ATTUNE_VALUE_LOW", "200", "spend expected in 90 days below which a customer's value is low"),
    Variable("ATTUNE_AT_RISK_FROM", "0.6", "churn probability from which a customer is at risk"),
    Variable("ATTUNE_CHURNED_FROM", "0.85", "churn probability from which a customer counts as churned"),
    Variable("ATTUNE_SAVE_RATE", "0.1", "share of leaving customers whom an action keeps, assumed"),
    Variable("ATTUNE_SAVE_COST", "1.0", "money that one action to keep a customer costs"),
    Variable("DATABASE_URL", "", "operational store in PostgreSQL; unset: SQLite below ATTUNE_HOME"),
    Variable("REDIS_URL", "", "online store in Redis, redis://host:port/0; unset: SQLite"),
    Variable("REDIS_PASSWORD", "", "password for REDIS_URL where the address has none"),
    Variable("MLFLOW_TRACKING_URI", "", "an MLflow server; unset: SQLite and files below ATTUNE_HOME"),
    Variable("DAGSTER_HOME", "", "Dagster's directory; unset: below ATTUNE_HOME"),
    Variable("BENTOML_HOME", "", "BentoML's directory; unset: below ATTUNE_HOME"),
    Variable("API_HOST", "127.0.0.1", "address that `attune serve` binds"),
    Variable("PORT", "8011", "port that `attune serve` binds, 1 to 65535"),
    Variable("ATTUNE_WORKERS", "1", "processes of `attune serve`, 1 to 64"),
    Variable("ATTUNE_ALERT_WEBHOOK", "", "address that alerts are posted to as JSON; unset: none"),
    Variable("ATTUNE_ALERT_EMAIL", "", "who gets alerts by e-mail, comma separated; unset: nobody"),
    Variable("ATTUNE_SMTP_URL", "", "mail server: smtp, smtp+starttls or smtps ://user:password@host:port"),
    Variable("ATTUNE_MAIL_FROM", "attune@localhost", "sender of e-mail"),
    Variable("LOG_LEVEL", "info", f"one of {', '.join(LOG_LEVELS)}"),
)
DEFAULTS = {variable.name: variable.default for variable in VARIABLES}

# Every tool that would call home is told not to (each has its own word for it), BLAS is told not to fight
# with implicit's threads, MLflow not to unpickle, and Dagster to hand over its events in batches
# (orchestration/event_log.py).
QUIET = {
    "DO_NOT_TRACK": "1",
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    "DAGSTER_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "BENTOML_DO_NOT_TRACK": "True",
    "GX_ANALYTICS_ENABLED": "false",
    "FEAST_USAGE": "False",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "OPENBLAS_NUM_THREADS": "1",
    "MPLBACKEND": "Agg",
    "DAGSTER_EVENT_BATCH_SIZE": "1000",
}


@dataclass(frozen=True)
class Settings:
    """What a run needs to know; see `VARIABLES` for the meaning and the default of each."""

    home: Home
    sources: tuple[str, ...]
    source_path: Path | None
    first_day: date
    schedule: str
    cutoffs: int
    retrain_days: int
    seed: int
    keep_releases: int
    retention: Retention
    operational_url: sa.URL
    redis_url: str | None
    mlflow_tracking_uri: str
    dagster_home: Path
    bentoml_home: Path
    host: str
    port: int
    workers: int
    log_level: str
    retention_offer: RetentionConfig = RetentionConfig()
    value_segments: SegmentConfig = SegmentConfig()
    alert_webhook: str = ""
    alert_email: tuple[str, ...] = ()
    smtp_url: str = ""
    mail_from: str = DEFAULTS["ATTUNE_MAIL_FROM"]
    interleaved_share: float = 0.0
    ab_test_sample_size: int = 1000


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment; raises `SettingsError` for the first value that cannot be used."""
    env = os.environ if environ is None else environ
    home = Home(Path(_text(env, "ATTUNE_HOME")).expanduser().absolute())
    sources, source_path = _sources(env)
    return Settings(
        home=home,
        sources=sources,
        source_path=source_path,
        first_day=_day(env, "ATTUNE_FIRST_DAY"),
        schedule=_cron(env, "ATTUNE_SCHEDULE"),
        cutoffs=_whole(env, "ATTUNE_CUTOFFS", 1, 12),
        retrain_days=_whole(env, "ATTUNE_RETRAIN_DAYS", 0, 365),
        seed=_whole(env, "ATTUNE_SEED", 0, 2**31 - 1),
        keep_releases=_whole(env, "ATTUNE_KEEP_RELEASES", 2, 100),
        retention=read_retention(_file(env, "ATTUNE_RETENTION")),
        operational_url=_database_url(env, home),
        redis_url=_redis_url(env),
        mlflow_tracking_uri=_text(env, "MLFLOW_TRACKING_URI") or f"sqlite:///{home.mlflow_db}",
        dagster_home=_directory(env, "DAGSTER_HOME", home.dagster),
        bentoml_home=_directory(env, "BENTOML_HOME", home.bentoml),
        host=_text(env, "API_HOST"),
        port=_whole(env, "PORT", 1, 65_535),
        workers=_whole(env, "ATTUNE_WORKERS", 1, 64),
        log_level=_choice(env, "LOG_LEVEL", LOG_LEVELS),
        retention_offer=_configured(env, RetentionConfig(), OFFER_FIELDS),
        value_segments=_configured(env, SegmentConfig(), SEGMENT_FIELDS),
        alert_webhook=_address(env, "ATTUNE_ALERT_WEBHOOK", address_remedy),
        alert_email=_receivers(env),
        smtp_url=_address(env, "ATTUNE_SMTP_URL", smtp_remedy),
        mail_from=_text(env, "ATTUNE_MAIL_FROM"),
        interleaved_share=_number(env, "ATTUNE_INTERLEAVED_SHARE", 0.0, 0.5),
        ab_test_sample_size=_whole(env, "AB_TEST_SAMPLE_SIZE", 10, 100_000_000),
    )


def process_environment(settings: Settings) -> dict[str, str]:
    """What the libraries of a run, and the processes it starts, must find in their environment.

    The telemetry switches and the pickle ban hold whatever the caller had set; the directories are the
    settings', as absolute paths, so that a child with another working directory means the same.
    """
    wired = QUIET | {
        "ATTUNE_HOME": str(settings.home.root),
        "MLFLOW_TRACKING_URI": settings.mlflow_tracking_uri,
        "DAGSTER_HOME": str(settings.dagster_home),
        "BENTOML_HOME": str(settings.bentoml_home),
    }
    if settings.source_path is not None:
        wired["ATTUNE_SOURCE_PATH"] = str(settings.source_path)
    return wired


def _text(env: Mapping[str, str], name: str) -> str:
    return env.get(name, "").strip() or DEFAULTS[name]


def _address(env: Mapping[str, str], name: str, remedy_of: Callable[[str], str | None]) -> str:
    """An address whose secrets an error must not show."""
    text = _text(env, name)
    if remedy := remedy_of(text):
        raise SettingsError(f"{name} cannot be used: {remedy}.")
    return text


def _directory(env: Mapping[str, str], name: str, default: Path) -> Path:
    text = _text(env, name)
    return Path(text).expanduser().absolute() if text else default


def _choice(env: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str:
    value = _text(env, name).lower()
    if value not in allowed:
        raise SettingsError(f"{name}={value!r} cannot be used: use one of {', '.join(allowed)}.")
    return value


def _whole(env: Mapping[str, str], name: str, low: int, high: int) -> int:
    text = _text(env, name)
    try:
        value = int(text)
    except ValueError:
        value = low - 1
    if not low <= value <= high:
        raise SettingsError(f"{name}={text!r} cannot be used: use a whole number from {low} to {high}.")
    return value


def _number(env: Mapping[str, str], name: str, low: float, high: float) -> float:
    text = _text(env, name)
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise SettingsError(f"{name}={text!r} cannot be used: use a number from {low:g} to {high:g}.")
    return value


def _day(env: Mapping[str, str], name: str) -> date:
    text = _text(env, name)
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise SettingsError(f"{name}={text!r} cannot be used: use a day such as 2000-01-01.") from None


def _cron(env: Mapping[str, str], name: str) -> str:
    text = _text(env, name)
    if len(text.split()) != 5 or not _is_cron(text):
        raise SettingsError(
            f"{name}={text!r} cannot be used: use five cron fields (minute hour day month weekday), "
            "such as '0 3 * * *'."
        )
    return text


def _is_cron(text: str) -> bool:
    """Whether Dagster takes it; asked only for what somebody set, for Dagster is slow to import."""
    if text == DEFAULTS["ATTUNE_SCHEDULE"]:
        return True
    from dagster._utils.schedules import is_valid_cron_schedule

    return is_valid_cron_schedule(text)


def _sources(env: Mapping[str, str]) -> tuple[tuple[str, ...], Path | None]:
    text, given = _text(env, "ATTUNE_SOURCE"), _text(env, "ATTUNE_SOURCE_PATH")
    path = Path(given).expanduser().absolute() if given else None
    if not text and path is None:
        return (), None
    if not text:
        raise SettingsError(f"ATTUNE_SOURCE is empty though ATTUNE_SOURCE_PATH={given!r} is not: set both.")
    try:
        return parse_sources(text, path, "ATTUNE_SOURCE_PATH"), path
    except SourceError as error:
        raise SettingsError(f"ATTUNE_SOURCE={text!r} cannot be used: {error}") from error


def _configured(env: Mapping[str, str], default: Config, variables: Mapping[str, str]) -> Config:
    """`default` with what is set; `variables` maps a variable to the field, a number, that it sets."""
    values: dict[str, Any] = {}
    for name, field in variables.items():
        text = _text(env, name)
        try:
            values[field] = float(text)
        except ValueError as error:
            raise SettingsError(f"{name}={text!r} cannot be used: use a number.") from error
    try:
        return replace(default, **values)
    except InvalidConfig as error:
        names = {field: name for name, field in variables.items()}
        allowed = " ".join(names.get(word, word) for word in error.allowed.split())
        name = names[error.field]
        raise SettingsError(f"{name}={_text(env, name)!r} cannot be used: {allowed}.") from error


def _receivers(env: Mapping[str, str]) -> tuple[str, ...]:
    """ATTUNE_ALERT_EMAIL, for which there must be a mail server."""
    found = tuple(part for each in _text(env, "ATTUNE_ALERT_EMAIL").split(",") if (part := each.strip()))
    wrong = [each for each in found if "@" not in each[1:-1] or any(sign in each for sign in " \r\n")]
    if wrong:
        raise SettingsError(f"ATTUNE_ALERT_EMAIL: {wrong[0]!r} is no e-mail address: use name@host.")
    if found and not _text(env, "ATTUNE_SMTP_URL"):
        raise SettingsError("ATTUNE_ALERT_EMAIL is set though ATTUNE_SMTP_URL is not: set both.")
    return found


def _file(env: Mapping[str, str], name: str) -> Path | None:
    text = _text(env, name)
    return Path(text).expanduser().absolute() if text else None


def _database_url(env: Mapping[str, str], home: Home) -> sa.URL:
    try:
        return operational_url(home, _text(env, "DATABASE_URL"))
    except UnusableDatabase as error:
        raise SettingsError(f"{error}.") from None


def _redis_url(env: Mapping[str, str]) -> str | None:
    """REDIS_URL with REDIS_PASSWORD filled in where the address has none."""
    text = _text(env, "REDIS_URL")
    if not text:
        return None
    parts = urlsplit(text)
    if parts.scheme not in ("redis", "rediss") or not parts.hostname:
        shown = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        raise SettingsError(
            f"REDIS_URL={shown!r} cannot be used: use redis://host:port/0, or rediss:// for TLS."
        )
    password = _text(env, "REDIS_PASSWORD")
    if password and not parts.password:
        host = parts.netloc.rpartition("@")[2]
        parts = parts._replace(netloc=f"{parts.username or ''}:{quote(password, safe='')}@{host}")
    return urlunsplit(parts)
