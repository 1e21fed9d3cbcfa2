"""Settings: defaults, and a wrong value named with what is allowed."""

from pathlib import Path

import pytest

from serving.__main__ import arguments, environment
from serving.errors import InvalidSetting
from serving.settings import read_settings
from tests.operational_store import UNUSABLE_DATABASES


def test_an_empty_environment_gives_the_documented_defaults() -> None:
    settings = read_settings({})
    assert settings.home.root == Path(".attune").absolute()
    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 8011, 1)
    assert settings.redis_url is None
    assert settings.online_deadline_seconds == 0.1
    assert (settings.release_source, settings.clock, settings.log_level) == ("auto", "release", "info")


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("PORT", "eighty", "a whole number from 1 to 65535"),
        ("PORT", "70000", "from 1 to 65535"),
        ("API_HOST", "shop.example", "an IP address"),
        ("LOG_LEVEL", "loud", "debug, info, warning, error"),
        ("ATTUNE_ONLINE_DEADLINE_MS", "1", "from 5 to 10000"),
        ("ATTUNE_RELEASE_SOURCE", "cloud", "auto, home, bento"),
        ("ATTUNE_RELEASE_POLL_SECONDS", "0", "from 0.05 to 3600"),
        ("ATTUNE_SERVING_CLOCK", "sundial", "release, wall"),
        ("ATTUNE_WORKERS", "0", "from 1 to 64"),
        ("REDIS_URL", "localhost:6379", "redis://host:port"),
        ("ATTUNE_RATE_LIMIT", "-1", "from 0 to 1e+06"),
        ("ATTUNE_CONSENT", "maybe", "opt_out, opt_in"),
        ("GDPR_COMPLIANT", "perhaps", "true, false"),
        ("RESPECT_DO_NOT_TRACK", "2", "true, false"),
        ("ALLOW_OPT_OUT", "nein", "true, false"),
        ("ATTUNE_ERASURE_HOURS", "0", "from 1 to 720"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(name: str, value: str, allowed: str) -> None:
    with pytest.raises(InvalidSetting) as refused:
        read_settings({name: value})
    assert str(refused.value).startswith(f"{name}='{value}'")
    assert allowed in str(refused.value)


def test_the_redis_password_is_filled_in_and_never_shown() -> None:
    settings = read_settings({"REDIS_URL": "redis://cache:6379/1", "REDIS_PASSWORD": "p@ss/word"})
    assert settings.redis_url == "redis://:p%40ss%2Fword@cache:6379/1"
    with pytest.raises(InvalidSetting) as refused:
        read_settings({"REDIS_URL": "http://user:secret@cache"})
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("url", UNUSABLE_DATABASES)
def test_a_database_that_cannot_be_used_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(InvalidSetting) as refused:
        read_settings({"DATABASE_URL": url})
    assert "use postgresql://user:password@host:port/database" in str(refused.value)
    assert "secret" not in str(refused.value)


def test_the_password_of_the_database_is_not_shown_with_the_settings() -> None:
    settings = read_settings({"DATABASE_URL": "postgresql://anna:secret@host:5432/shop"})
    assert settings.database_url == "postgresql://anna:secret@host:5432/shop"
    assert "secret" not in repr(settings)
    assert read_settings({"DATABASE_URL": "sqlite:////data/attune.db"}).database_url


def test_blank_values_count_as_absent() -> None:
    assert read_settings({"PORT": " ", "REDIS_URL": ""}).port == 8011


def test_the_server_gets_address_workers_and_a_home_for_bentoml() -> None:
    settings = read_settings({"ATTUNE_HOME": "/data", "PORT": "9000", "ATTUNE_WORKERS": "3"})
    assert arguments(settings)[:4] == ["--host", "127.0.0.1", "--port", "9000"]
    given = environment(settings, {})
    assert given["BENTOML_HOME"] == "/data/bentoml"
    assert given["BENTOML_DO_NOT_TRACK"] == "True"
    assert '"workers": 3' in given["BENTOML_CONFIG_OVERRIDES"]
    assert environment(settings, {"BENTOML_HOME": "/elsewhere"})["BENTOML_HOME"] == "/elsewhere"
