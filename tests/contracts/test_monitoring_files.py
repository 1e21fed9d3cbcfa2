"""What Prometheus and Grafana are told to read are metrics that the service publishes, under their names."""

import json
import re
from typing import Any

import yaml
from prometheus_client import Counter, Histogram
from prometheus_client.metrics import MetricWrapperBase

from serving.metrics import Metrics
from tests.contracts.repository import ROOT

NAME = re.compile(r"\battune_[a-z_]+\b")
OF_OTHERS = {"attune_read_key"}


def published() -> set[str]:
    names: set[str] = set()
    for metric in vars(Metrics()).values():
        if isinstance(metric, MetricWrapperBase):
            name = metric._name
            if isinstance(metric, Counter):
                names.add(f"{name}_total")
            elif isinstance(metric, Histogram):
                names |= {f"{name}_{part}" for part in ("bucket", "sum", "count")}
            else:
                names.add(name)
    return names


def rules() -> list[dict[str, Any]]:
    document = yaml.safe_load((ROOT / "docker" / "prometheus" / "rules.yml").read_text(encoding="utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    text = (ROOT / "docker" / "grafana" / "dashboards" / "service.json").read_text(encoding="utf-8")
    found: list[dict[str, Any]] = json.loads(text)["panels"]
    return found


def test_rules_and_panels_read_metrics_that_exist() -> None:
    expressions = [rule["expr"] for rule in rules()]
    expressions += [target["expr"] for panel in panels() for target in panel["targets"]]
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    used = {name for each in expressions for name in NAME.findall(each)}
    assert used
    assert used - published() == set()
    asked = {name for each in expressions for name in re.findall(r"\battune:[a-z_:0-9]+", each)}
    assert asked <= recorded


def test_every_alert_says_what_and_where_to_look() -> None:
    alerts = [rule for rule in rules() if "alert" in rule]
    assert len(alerts) >= 5
    for alert in alerts:
        assert alert["annotations"]["summary"], alert["alert"]
        assert alert["annotations"]["description"], alert["alert"]
        assert alert["labels"]["severity"] in ("page", "warn")


def test_the_dashboard_explains_each_panel_and_overlaps_none() -> None:
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels()]
    assert len(set(places)) == len(places)
    assert all(panel["description"] for panel in panels())


def test_scraping_goes_to_the_service_with_a_key() -> None:
    document = yaml.safe_load((ROOT / "docker" / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    job = document["scrape_configs"][0]
    assert job["static_configs"] == [{"targets": ["service:8011"]}]
    assert job["authorization"]["credentials_file"].startswith("/run/secrets/")
