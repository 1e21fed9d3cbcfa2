"""Settings: defaults, wrong values, and what children find in their environment."""

from datetime import date
from pathlib import Path

import pytest

from orchestration import retention
from orchestration.errors import SettingsError
from orchestration.settings import DEFAULTS, VARIABLES, process_environment, read_settings
from tests.operational_store import UNUSABLE_DATABASES


def test_an_empty_environment_gives_the_defaults() -> None:
    settings = read_settings({})
    home = Path(".attune").absolute()
    assert settings.home.root == home
    assert settings.sources == ()
    assert settings.retention == retention.DEFAULTS
    assert settings.operational_url.database == str(home / "operational" / "attune.db")
    assert settings.first_day == date(2000, 1, 1)
    assert settings.port == 8011
    assert settings.mlflow_tracking_uri == f"sqlite:///{home}/mlflow/mlflow.db"
    assert settings.dagster_home == home / "dagster"


def test_blank_means_unset() -> None:
    assert read_settings(dict.fromkeys(DEFAULTS, "  ")) == read_settings({})


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("PORT", "eighty", "1 to 65535"),
        ("PORT", "0", "1 to 65535"),
        ("ATTUNE_WORKERS", "65", "1 to 64"),
        ("ATTUNE_SEED", "-1", "0 to 2147483647"),
        ("AB_TEST_SAMPLE_SIZE", "9", "10 to 100000000"),
        ("ATTUNE_FIRST_DAY", "01/02/2020", "2000-01-01"),
        ("ATTUNE_SCHEDULE", "daily", "five cron fields"),
        ("ATTUNE_SCHEDULE", "a b c d e", "five cron fields"),
        ("ATTUNE_SCHEDULE", "0 25 * * *", "five cron fields"),
        ("ATTUNE_SCHEDULE", "0 3 30 2 *", "five cron fields"),
        ("ATTUNE_SOURCE", "tabular,simulator", "event_log"),
        ("LOG_LEVEL", "loud", "debug, info, warning, error"),
        ("REDIS_URL", "http://cache", "redis://"),
        ("ATTUNE_VALUE_HIGH", "nan", "use a number above 0"),
        ("ATTUNE_VALUE_HIGH", "inf", "use a number above 0"),
        ("ATTUNE_VALUE_LOW", "2000", "use 0 up to ATTUNE_VALUE_HIGH"),
        ("ATTUNE_VALUE_LOW", "nan", "use 0 up to ATTUNE_VALUE_HIGH"),
        ("ATTUNE_AT_RISK_FROM", "nan", "a probability below ATTUNE_CHURNED_FROM"),
        ("ATTUNE_CHURNED_FROM", "2", "a probability above 0 up to 1"),
        ("ATTUNE_CHURNED_FROM", "nan", "a probability above 0 up to 1"),
        ("ATTUNE_SAVE_RATE", "inf", "a share above 0 up to 1"),
        ("ATTUNE_CHURNED_FROM", "likely", "use a number"),
        ("ATTUNE_SAVE_RATE", "1.5", "a share above 0 up to 1"),
        ("ATTUNE_SAVE_COST", "nan", "0 or more"),
    ],
)
def test_a_wrong_value_names_the_variable_the_value_and_the_allowed_ones(
    name: str, value: str, allowed: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({name: value})
    assert name in str(caught.value)
    assert repr(value) in str(caught.value)
    assert allowed in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_schedule_that_dagster_takes_is_taken() -> None:
    assert read_settings({"ATTUNE_SCHEDULE": "*/30 6-22 * * MON-FRI"}).schedule == "*/30 6-22 * * MON-FRI"


def test_an_unknown_source_names_the_known_ones() -> None:
    with pytest.raises(
        SettingsError, match="ATTUNE_SOURCE='shopify'.*online_retail, tabular, simulator, event_log"
    ):
        read_settings({"ATTUNE_SOURCE": "shopify", "ATTUNE_SOURCE_PATH": "drops"})


@pytest.mark.parametrize(
    ("given", "missing"),
    [({"ATTUNE_SOURCE": "simulator"}, "ATTUNE_SOURCE_PATH"), ({"ATTUNE_SOURCE_PATH": "d"}, "ATTUNE_SOURCE ")],
)
def test_source_and_path_come_together(given: dict[str, str], missing: str) -> None:
    with pytest.raises(SettingsError, match=missing):
        read_settings(given)


def test_a_source_of_files_and_the_event_log_may_be_read_together() -> None:
    settings = read_settings({"ATTUNE_SOURCE": "tabular, event_log", "ATTUNE_SOURCE_PATH": "/drops"})
    assert (settings.sources, settings.source_path) == (("tabular", "event_log"), Path("/drops"))
    assert read_settings({"ATTUNE_SOURCE": "event_log"}).sources == ("event_log",)
    with pytest.raises(SettingsError, match="leave it out"):
        read_settings({"ATTUNE_SOURCE": "event_log", "ATTUNE_SOURCE_PATH": "/drops"})


def test_a_database_is_opened_with_the_driver_that_is_installed() -> None:
    url = read_settings({"DATABASE_URL": "postgres://me:pw@db:5432/attune"}).operational_url
    assert url.drivername == "postgresql+psycopg2"
    assert read_settings({"DATABASE_URL": "sqlite:////data/a.db"}).operational_url.database == "/data/a.db"


@pytest.mark.parametrize("url", UNUSABLE_DATABASES)
def test_a_database_that_cannot_be_used_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(SettingsError, match="use postgresql://user:password@host:port/database") as caught:
        read_settings({"DATABASE_URL": url})
    assert str(caught.value).startswith("DATABASE_URL='")
    assert "secret" not in str(caught.value)


def test_the_redis_password_is_filled_in_and_never_shown() -> None:
    settings = read_settings({"REDIS_URL": "redis://cache:6379/0", "REDIS_PASSWORD": "p@ss"})
    assert settings.redis_url == "redis://:p%40ss@cache:6379/0"
    with pytest.raises(SettingsError) as caught:
        read_settings({"REDIS_URL": "http://:secret@cache"})
    assert "secret" not in str(caught.value)


def test_children_get_absolute_directories_and_no_telemetry(tmp_path: Path) -> None:
    environment = process_environment(read_settings({"ATTUNE_HOME": str(tmp_path / "shop")}))
    assert environment["ATTUNE_HOME"] == str(tmp_path / "shop")
    assert environment["DAGSTER_HOME"] == str(tmp_path / "shop" / "dagster")
    assert environment["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert environment["DAGSTER_DISABLE_TELEMETRY"] == "1"
    assert environment["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"


def test_every_variable_is_explained_once() -> None:
    assert len(DEFAULTS) == len(VARIABLES)
    assert all(variable.meaning for variable in VARIABLES)
