"""Environment -> frozen settings of the service, read once per process.

A value that cannot be used stops the start with the variable's name and what is allowed.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit
from zoneinfo import ZoneInfo

from feature_repo.errors import UnusableDatabase
from feature_repo.event_log import operational_url
from feature_repo.layout import Home
from feature_repo.mail import smtp_remedy
from feature_repo.webhook import address_remedy
from serving.errors import InvalidSetting

LOG_LEVELS = ("debug", "info", "warning", "error")
RELEASE_SOURCES = ("auto", "home", "bento")
CLOCKS = ("release", "wall")
CONSENT_MODELS = ("opt_out", "opt_in")
# Feature flag -> its variable and its default; `serving.flags` says what each one switches.
FLAGS = {
    "behavioral_tracking": ("ENABLE_BEHAVIORAL_TRACKING", True),
    "browsing_history": ("TRACK_BROWSING_HISTORY", True),
    "preference_center": ("ENABLE_PREFERENCE_CENTER", True),
    "recommendations": ("ENABLE_PERSONALIZED_RECOMMENDATIONS", True),
    "personalized_search": ("ENABLE_PERSONALIZED_SEARCH", True),
    "dynamic_pricing": ("ENABLE_DYNAMIC_PRICING", False),
    "smart_notifications": ("ENABLE_SMART_NOTIFICATIONS", True),
    "ab_testing": ("ENABLE_AB_TESTING", True),
    "live_reranking": ("REAL_TIME_PROCESSING", True),
    "lazy_algorithms": ("LAZY_LOAD_COMPLEX_ALGORITHMS", True),
}
DEFAULT_FLAGS = frozenset(flag for flag, (_, is_on) in FLAGS.items() if is_on)


@dataclass(frozen=True)
class Settings:
    """What one serving process needs to know.

    `host`, `port` and `workers` are what `python -m serving` binds and starts.
    `online_deadline_ms`: how long a request waits for the online store before it falls back.
    `database_url`: the operational store, if it is not the SQLite file of the home; `database_deadline_ms`:
    how long a request waits for it (four times as long where it writes).
    `release_source`: `home` (ATTUNE_HOME), `bento` (BentoML's model store), or `auto` (home first).
    `clock`: what "now" means for derived features: the end of the release's data, or the wall clock.
    `flags`: the feature flags that are on. `ab_test_sample_size`: visitors that an experiment asks for in
    each variant. `holdout_share`: visitors who are kept out of every experiment.
    `metrics_dir`: where BentoML lets its workers share their metrics; None for a process of its own.
    `api_keys_file`: YAML of the keys' digests (serving/access/keys.py); without it only loopback is bound.
    `rate_limit`: requests a second for each key (each address without keys), 0 for no limit.
    `consent`: what holds without a record: `opt_out` (tracking and personalization are allowed) or `opt_in`.
    `gdpr_compliant`: communication and data sharing wait for a grant; false: they end with a revocation.
    `respect_do_not_track`: `DNT: 1` and `Sec-GPC: 1` stop tracking and personalization for that request.
    `allow_opt_out`: people may revoke by the API; false answers such calls with 403.
    `exploration`: probability that a place of a list is explored; `diversity`: how much what is alike loses.
    `cache_ttl`: seconds for which a stored answer may be given again. `receipts`: decisions are written down.
    `confidence_threshold`: below it an element of a page keeps its default variant.
    `max_discount`, `max_price_increase`: shares of the list price; `margin_floor`: share of the price.
    `quiet_hours`: local hours from and until which no message is sent; `messages_per_week`: for each channel.
    `time_zone`: of customers who did not say theirs.
    `smtp_url`, `mail_from`: the server that takes e-mail of campaigns, and its sender. `campaign_webhook`:
    where messages of other channels are posted, and e-mail without a server; `campaign_secret` signs them.
    `erasure_hours`: what a receipt promises: when the batch's files hold an erased customer no more.
    """

    home: Home
    host: str = "127.0.0.1"
    port: int = 8011
    workers: int = 1
    redis_url: str | None = None
    database_url: str | None = field(default=None, repr=False)
    database_deadline_ms: int = 500
    log_level: str = "info"
    online_deadline_ms: int = 100
    release_source: str = "auto"
    release_poll_seconds: float = 1.0
    clock: str = "release"
    metrics_dir: str | None = None
    flags: frozenset[str] = DEFAULT_FLAGS
    ab_test_sample_size: int = 1000
    holdout_share: float = 0.0
    api_keys_file: Path | None = None
    rate_limit: float = 0.0
    consent: str = "opt_out"
    gdpr_compliant: bool = True
    respect_do_not_track: bool = True
    allow_opt_out: bool = True
    erasure_hours: int = 48
    confidence_threshold: float = 0.7
    max_discount: float = 0.2
    max_price_increase: float = 0.0
    margin_floor: float = 0.1
    quiet_hours: tuple[int, int] = (21, 8)
    messages_per_week: int = 3
    time_zone: str = "UTC"
    exploration: float = 0.05
    diversity: float = 0.3
    cache_ttl: float = 3600.0
    receipts: bool = True
    smtp_url: str = field(default="", repr=False)
    mail_from: str = "attune@localhost"
    campaign_webhook: str = field(default="", repr=False)
    campaign_secret: str = field(default="", repr=False)

    @property
    def online_deadline_seconds(self) -> float:
        return self.online_deadline_ms / 1000

    @property
    def database_deadline_seconds(self) -> float:
        return self.database_deadline_ms / 1000


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment; raises `InvalidSetting` for the first value that cannot be used."""
    env = os.environ if environ is None else environ
    settings = Settings(
        home=Home(Path(_text(env, "ATTUNE_HOME", ".attune")).expanduser().absolute()),
        host=_host(env),
        port=int(_number(env, "PORT", 8011, 1, 65_535, whole=True)),
        workers=int(_number(env, "ATTUNE_WORKERS", 1, 1, 64, whole=True)),
        redis_url=_redis_url(env),
        database_url=_database_url(env),
        database_deadline_ms=int(_number(env, "ATTUNE_DATABASE_DEADLINE_MS", 500, 50, 60_000, whole=True)),
        log_level=_choice(env, "LOG_LEVEL", LOG_LEVELS, "info"),
        online_deadline_ms=int(_number(env, "ATTUNE_ONLINE_DEADLINE_MS", 100, 5, 10_000, whole=True)),
        release_source=_choice(env, "ATTUNE_RELEASE_SOURCE", RELEASE_SOURCES, "auto"),
        release_poll_seconds=_number(env, "ATTUNE_RELEASE_POLL_SECONDS", 1.0, 0.05, 3600),
        clock=_choice(env, "ATTUNE_SERVING_CLOCK", CLOCKS, "release"),
        metrics_dir=_text(env, "PROMETHEUS_MULTIPROC_DIR", "") or None,
        flags=frozenset(flag for flag, (name, is_on) in FLAGS.items() if _switch(env, name, is_on)),
        ab_test_sample_size=int(_number(env, "AB_TEST_SAMPLE_SIZE", 1000, 10, 100_000_000, whole=True)),
        holdout_share=_number(env, "ATTUNE_HOLDOUT_SHARE", 0.0, 0, 0.5),
        api_keys_file=_file(env, "ATTUNE_API_KEYS_FILE"),
        rate_limit=_number(env, "ATTUNE_RATE_LIMIT", 0, 0, 1_000_000),
        consent=_choice(env, "ATTUNE_CONSENT", CONSENT_MODELS, "opt_out"),
        gdpr_compliant=_switch(env, "GDPR_COMPLIANT", True),
        respect_do_not_track=_switch(env, "RESPECT_DO_NOT_TRACK", True),
        allow_opt_out=_switch(env, "ALLOW_OPT_OUT", True),
        erasure_hours=int(_number(env, "ATTUNE_ERASURE_HOURS", 48, 1, 720, whole=True)),
        confidence_threshold=_number(env, "ATTUNE_CONFIDENCE_THRESHOLD", 0.7, 0.5, 0.999),
        max_discount=_number(env, "ATTUNE_MAX_DISCOUNT", 0.2, 0, 0.9),
        max_price_increase=_number(env, "ATTUNE_MAX_PRICE_INCREASE", 0, 0, 0.5),
        margin_floor=_number(env, "ATTUNE_MARGIN_FLOOR", 0.1, 0, 0.95),
        quiet_hours=_quiet_hours(env),
        messages_per_week=int(_number(env, "ATTUNE_MESSAGES_PER_WEEK", 3, 0, 100, whole=True)),
        time_zone=_time_zone(env),
        exploration=_number(env, "ATTUNE_EXPLORATION", 0.05, 0, 0.5),
        diversity=_number(env, "ATTUNE_DIVERSITY", 0.3, 0, 1),
        cache_ttl=_number(env, "CACHE_TTL", 3600, 0, 86_400),
        receipts=_switch(env, "ATTUNE_RECEIPTS", True),
        smtp_url=_address(env, "ATTUNE_SMTP_URL", smtp_remedy),
        mail_from=_text(env, "ATTUNE_MAIL_FROM", "attune@localhost"),
        campaign_webhook=_address(env, "ATTUNE_CAMPAIGN_WEBHOOK", address_remedy),
        campaign_secret=_text(env, "ATTUNE_CAMPAIGN_SECRET", ""),
    )
    if settings.api_keys_file is None and not ip_address(settings.host).is_loopback:
        raise InvalidSetting(
            "API_HOST",
            settings.host,
            "without API keys use 127.0.0.1 or ::1; make a key by `python -m serving.access.keys` and name"
            " its file in ATTUNE_API_KEYS_FILE",
        )
    return settings


def _text(env: Mapping[str, str], name: str, default: str) -> str:
    return env.get(name, "").strip() or default


def _choice(env: Mapping[str, str], name: str, allowed: tuple[str, ...], default: str) -> str:
    value = _text(env, name, default).lower()
    if value not in allowed:
        raise InvalidSetting(name, value, f"use one of {', '.join(allowed)}")
    return value


def _switch(env: Mapping[str, str], name: str, default: bool) -> bool:
    return _choice(env, name, ("true", "false"), "true" if default else "false") == "true"


def _file(env: Mapping[str, str], name: str) -> Path | None:
    text = _text(env, name, "")
    return Path(text).expanduser().absolute() if text else None


def _address(env: Mapping[str, str], name: str, remedy_of: Callable[[str], str | None]) -> str:
    """An address whose secrets an error must not show."""
    text = _text(env, name, "")
    if remedy := remedy_of(text):
        raise InvalidSetting(name, text.rpartition("@")[2].split("/")[0], remedy)
    return text


def _number(
    env: Mapping[str, str], name: str, default: float, low: float, high: float, whole: bool = False
) -> float:
    text = _text(env, name, str(default))
    allowed = f"use {'a whole number' if whole else 'a number'} from {low:g} to {high:g}"
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        raise InvalidSetting(name, text, allowed) from None
    if not low <= value <= high:
        raise InvalidSetting(name, text, allowed)
    return value


def _host(env: Mapping[str, str]) -> str:
    """API_HOST as an address, which is what BentoML binds; `localhost` is accepted for 127.0.0.1."""
    text = _text(env, "API_HOST", "127.0.0.1")
    text = "127.0.0.1" if text == "localhost" else text
    try:
        return str(ip_address(text))
    except ValueError:
        raise InvalidSetting("API_HOST", text, "use an IP address such as 127.0.0.1 or 0.0.0.0") from None


def _redis_url(env: Mapping[str, str]) -> str | None:
    """REDIS_URL with REDIS_PASSWORD filled in where the address has none."""
    text = _text(env, "REDIS_URL", "")
    if not text:
        return None
    parts = urlsplit(text)
    if parts.scheme not in ("redis", "rediss") or not parts.hostname:
        shown = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        raise InvalidSetting("REDIS_URL", shown, "use redis://host:port/database, or rediss:// for TLS")
    password = _text(env, "REDIS_PASSWORD", "")
    if password and not parts.password:
        user = parts.username or ""
        parts = parts._replace(netloc=f"{user}:{quote(password, safe='')}@{parts.netloc.rpartition('@')[2]}")
    return urlunsplit(parts)


def _quiet_hours(env: Mapping[str, str]) -> tuple[int, int]:
    """ATTUNE_QUIET_HOURS as (from, until), hours of the day."""
    text = _text(env, "ATTUNE_QUIET_HOURS", "21-8")
    first, _, last = text.partition("-")
    if not (first.isdecimal() and last.isdecimal() and int(first) < 24 and int(last) < 24):
        allowed = "use two hours from 0 to 23, such as 21-8; 0-0 for none"
        raise InvalidSetting("ATTUNE_QUIET_HOURS", text, allowed)
    return int(first), int(last)


def _time_zone(env: Mapping[str, str]) -> str:
    text = _text(env, "ATTUNE_TIME_ZONE", "UTC")
    try:
        ZoneInfo(text)
    except (KeyError, ValueError, OSError):
        allowed = "use a time zone such as UTC or Europe/Lisbon"
        raise InvalidSetting("ATTUNE_TIME_ZONE", text, allowed) from None
    return text


def _database_url(env: Mapping[str, str]) -> str | None:
    """DATABASE_URL, if it names a PostgreSQL with a database, or an SQLite file."""
    text = _text(env, "DATABASE_URL", "")
    if not text:
        return None
    try:
        operational_url(Home(Path()), text)
    except UnusableDatabase as error:
        raise InvalidSetting("DATABASE_URL", error.shown, error.remedy) from None
    return text
