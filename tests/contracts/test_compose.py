"""docker-compose.yml: the servers are there, healthy before used, private, and set only known variables."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster._core.instance.config import dagster_instance_config

from orchestration.settings import QUIET, read_settings
from serving.settings import read_settings as read_service_settings
from tests.contracts.environment import (
    compose_names,
    documented_values,
    feature_store_names,
    known_names,
    orchestration_defaults,
    serving_names,
    transforms_defaults,
)
from tests.contracts.repository import ROOT

# What the images of others read: PostgreSQL's and Redis's, and MLflow's own server.
OF_OTHERS = {
    "POSTGRES_USER",
    "POSTGRES_DB",
    "POSTGRES_PASSWORD",
    "REDISCLI_AUTH",
    "MLFLOW_BACKEND_STORE_URI",
    "MLFLOW_ARTIFACTS_DESTINATION",
    "MLFLOW_SERVER_ALLOWED_HOSTS",
    "GF_ANALYTICS_REPORTING_ENABLED",
    "GF_ANALYTICS_CHECK_FOR_UPDATES",
    "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES",
    "GF_SECURITY_DISABLE_GRAVATAR",
    "GF_NEWS_NEWS_FEED_ENABLED",
    "GF_SECURITY_ADMIN_PASSWORD__FILE",
}
# Settings that .env does not reach here, and why.
NOT_FROM_ENV = {
    "ATTUNE_HOME": "a volume is mounted there",
    "ATTUNE_API_KEYS_FILE": "a volume is mounted there",
    "API_HOST": "the service binds every address of its container; the port is published on loopback",
    "PORT": "the health check, Prometheus and the published port name it",
    "DATABASE_URL": "compose starts the PostgreSQL",
    "REDIS_URL": "compose starts the Redis",
    "MLFLOW_TRACKING_URI": "compose starts the MLflow",
    "DAGSTER_HOME": "the image holds it, with the instance file",
    "BENTOML_HOME": "lies below ATTUNE_HOME",
    "PROMETHEUS_MULTIPROC_DIR": "BentoML sets it",
}
# What `attune serve` reads: here the service has a container of its own.
SERVED_ALONE = {"API_HOST", "PORT", "ATTUNE_WORKERS"}
SECRETS = {"POSTGRES_PASSWORD": "pw", "REDIS_PASSWORD": "pw"}
SUBSTITUTION = re.compile(r"\$\{([A-Z0-9_]+)(?::([-?])([^}]*))?\}")


def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    return document


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose()["services"]
    return found


def filled(value: str) -> str:
    """The value that compose would set where .env holds the two secrets alone."""

    def replacement(match: re.Match[str]) -> str:
        name, kind, text = match.groups()
        return SECRETS.get(name, text if kind == "-" else "")

    return SUBSTITUTION.sub(replacement, str(value))


def environment(name: str) -> dict[str, str]:
    return {key: filled(value) for key, value in services()[name].get("environment", {}).items()}


def test_the_whole_loop_is_there() -> None:
    assert set(services()) == {
        "postgres",
        "redis",
        "mlflow",
        "code",
        "dagster-web",
        "dagster-daemon",
        "service",
        "prometheus",
        "grafana",
    }


def test_every_server_tells_whether_it_is_healthy() -> None:
    assert [name for name, service in services().items() if not service.get("healthcheck")] == []


def test_a_server_waits_until_what_it_needs_is_healthy() -> None:
    for name, service in services().items():
        for needed, condition in service.get("depends_on", {}).items():
            assert needed in services(), f"{name} waits for {needed}, which is not there"
            assert condition == {"condition": "service_healthy"}, f"{name} -> {needed}"


def test_ports_are_published_on_loopback_alone() -> None:
    published = {name: service["ports"] for name, service in services().items() if "ports" in service}
    assert set(published) == {"mlflow", "dagster-web", "service", "prometheus", "grafana"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


def test_every_variable_that_is_set_is_known() -> None:
    allowed = known_names() | set(QUIET) | OF_OTHERS
    strangers = {
        name: sorted(environment(name).keys() - allowed)
        for name in services()
        if environment(name).keys() - allowed
    }
    assert strangers == {}


def test_every_variable_taken_from_env_is_documented() -> None:
    taken = {name for name, _, _ in SUBSTITUTION.findall((ROOT / "docker-compose.yml").read_text())}
    assert sorted(taken - documented_values().keys()) == []


def test_secrets_have_no_default() -> None:
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    kinds = {(name, kind) for name, kind, _ in SUBSTITUTION.findall(text) if "PASSWORD" in name}
    assert kinds == {("POSTGRES_PASSWORD", "?"), ("REDIS_PASSWORD", "?")}


def test_a_run_can_start_from_the_environment_of_the_code_server() -> None:
    settings = read_settings(environment("code"))
    assert settings.redis_url == "redis://:pw@redis:6379/0"
    assert settings.mlflow_tracking_uri == "http://mlflow:5000"
    assert (settings.seed, settings.cutoffs) == (read_settings({}).seed, read_settings({}).cutoffs)
    assert (settings.schedule, settings.first_day) == (
        read_settings({}).schedule,
        read_settings({}).first_day,
    )


def test_the_service_can_start_from_its_environment() -> None:
    settings = read_service_settings(environment("service"))
    assert (settings.host, settings.port) == ("0.0.0.0", 8011)
    assert settings.home == read_settings(environment("code")).home


def test_every_documented_setting_can_be_given_in_env() -> None:
    assert documented_values().keys() - compose_names() == NOT_FROM_ENV.keys()


def test_every_setting_of_a_run_reaches_the_runs() -> None:
    read = orchestration_defaults().keys() | transforms_defaults().keys() | feature_store_names()
    assert sorted(read - environment("code").keys() - NOT_FROM_ENV.keys() - SERVED_ALONE) == []


def test_every_setting_of_the_service_reaches_it() -> None:
    assert sorted(serving_names() - environment("service").keys() - NOT_FROM_ENV.keys()) == []
    assert read_service_settings(environment("service")).flags == read_service_settings({}).flags


def test_runs_and_the_service_share_the_operational_store() -> None:
    assert environment("service")["DATABASE_URL"] == environment("code")["DATABASE_URL"]
    name = environment("service")["DATABASE_URL"].rpartition("/")[2]
    assert f"create database {name};" in (ROOT / "docker" / "postgres.sql").read_text(encoding="utf-8")


def test_the_three_parts_of_dagster_share_one_environment() -> None:
    assert environment("code") == environment("dagster-web") == environment("dagster-daemon")


def test_every_volume_is_declared_and_every_mounted_file_exists() -> None:
    for name, service in services().items():
        for volume in service.get("volumes", []):
            source = filled(volume).split(":", 1)[0]
            if source.startswith("./docker"):
                assert (ROOT / source).exists(), f"{name} mounts {source}"
            elif not source.startswith("./"):
                assert source in compose()["volumes"], f"{name} mounts {source}"


def test_every_image_that_is_built_has_its_stage() -> None:
    stages = re.findall(r"^FROM \S+ AS (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    targets = {service["build"]["target"] for service in services().values() if "build" in service}
    assert targets == {"service", "orchestration", "mlflow"}
    assert targets <= set(stages)


def test_every_file_that_the_image_copies_exists() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    copied = re.findall(r"^COPY (?!--from)(?:--\S+ )?(.+) \S+$", text, re.MULTILINE)
    missing = [name for line in copied for name in line.split() if not (ROOT / name).exists()]
    assert missing == []


def test_dagster_accepts_its_instance_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRES_PASSWORD", "pw")
    config, _ = dagster_instance_config(str(ROOT / "docker"))
    assert config["telemetry"] == {"enabled": False}
    assert config["storage"]["postgres"]["postgres_db"]["hostname"] in services()


def test_dagster_finds_the_code_server_where_the_image_starts_it() -> None:
    workspace = yaml.safe_load((ROOT / "docker" / "workspace.yaml").read_text(encoding="utf-8"))
    server = workspace["load_from"][0]["grpc_server"]
    assert server["host"] in services()
    assert f'"--port", "{server["port"]}"' in (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_images_of_others_are_pinned_to_a_version() -> None:
    pulled = [service["image"] for service in services().values() if "build" not in service]
    assert all(re.fullmatch(r"[a-z]+(/[a-z]+)?:v?\d+(\.\d+)*", image) for image in pulled), pulled


def test_no_secret_lies_beside_the_example() -> None:
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert ".env" in ignored
    assert not Path(ROOT / ".env.example").read_text(encoding="utf-8").count("PASSWORD=x")
