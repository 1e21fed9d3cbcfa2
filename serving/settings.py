"""Environment -> frozen settings of the service, read once per process.

A value that cannot be used stops the start with the variable's name and what is allowed.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from feature_repo.layout import Home
from serving.errors import InvalidSetting

LOG_LEVELS = ("debug", "info", "warning", "error")
RELEASE_SOURCES = ("auto", "home", "bento")
CLOCKS = ("release", "wall")


@dataclass(frozen=True)
class Settings:
    """What one serving process needs to know.

    `host`, `port` and `workers` are what `python -m serving` binds and starts.
    `online_deadline_ms`: how long a request waits for the online store before it falls back.
    `release_source`: `home` (ATTUNE_HOME), `bento` (BentoML's model store), or `auto` (home first).
    `clock`: what "now" means for derived features: the end of the release's data, or the wall clock.
    `metrics_dir`: where BentoML lets its workers share their metrics; None for a process of its own.
    """

    home: Home
    host: str = "127.0.0.1"
    port: int = 8011
    workers: int = 1
    redis_url: str | None = None
    log_level: str = "info"
    online_deadline_ms: int = 100
    release_source: str = "auto"
    release_poll_seconds: float = 1.0
    clock: str = "release"
    metrics_dir: str | None = None

    @property
    def online_deadline_seconds(self) -> float:
        return self.online_deadline_ms / 1000


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment; raises `InvalidSetting` for the first value that cannot be used."""
    env = os.environ if environ is None else environ
    return Settings(
        home=Home(Path(_text(env, "ATTUNE_HOME", ".attune")).expanduser().absolute()),
        host=_host(env),
        port=int(_number(env, "PORT", 8011, 1, 65_535, whole=True)),
        workers=int(_number(env, "ATTUNE_WORKERS", 1, 1, 64, whole=True)),
        redis_url=_redis_url(env),
        log_level=_choice(env, "LOG_LEVEL", LOG_LEVELS, "info"),
        online_deadline_ms=int(_number(env, "ATTUNE_ONLINE_DEADLINE_MS", 100, 5, 10_000, whole=True)),
        release_source=_choice(env, "ATTUNE_RELEASE_SOURCE", RELEASE_SOURCES, "auto"),
        release_poll_seconds=_number(env, "ATTUNE_RELEASE_POLL_SECONDS", 1.0, 0.05, 3600),
        clock=_choice(env, "ATTUNE_SERVING_CLOCK", CLOCKS, "release"),
        metrics_dir=_text(env, "PROMETHEUS_MULTIPROC_DIR", "") or None,
    )


def _text(env: Mapping[str, str], name: str, default: str) -> str:
    return env.get(name, "").strip() or default


def _choice(env: Mapping[str, str], name: str, allowed: tuple[str, ...], default: str) -> str:
    value = _text(env, name, default).lower()
    if value not in allowed:
        raise InvalidSetting(name, value, f"use one of {', '.join(allowed)}")
    return value


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
