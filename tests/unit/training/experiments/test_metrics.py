"""Metrics as data: a file changes and adds, and names what it gets wrong."""

from pathlib import Path

import pytest

from training.errors import InvalidMetrics
from training.experiments.metrics import BUILT_IN, Metric, by_name, read_metrics


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "experiment_metrics.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_without_a_file_there_are_the_built_in_metrics(tmp_path: Path) -> None:
    assert read_metrics(tmp_path / "none.yaml") == BUILT_IN


def test_a_file_replaces_by_name_and_adds(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "metrics:\n"
        "  - {name: conversion_rate, kind: conversion, numerator: order_count, window_days: 14}\n"
        "  - {name: returns, kind: mean, numerator: return_amount, is_lower_better: true}\n",
    )
    found = by_name(read_metrics(path))
    assert found["conversion_rate"].window_days == 14
    assert found["returns"].is_lower_better
    assert len(found) == len(BUILT_IN) + 1


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{name: x, kind: median, numerator: spend}", "metric x: kind='median' cannot be used: one of mean"),
        ("{name: x, kind: mean, numerator: money}", "numerator='money'"),
        ("{name: x, kind: ratio, numerator: spend}", "denominator=None"),
        ("{name: x, kind: mean, numerator: spend, window_days: soon}", "window_days='soon' .*: int"),
        ("{name: x, kind: mean, numerator: spend, window: 3}", "window=3 cannot be used: one of name"),
        ("{name: x, kind: retention, numerator: active_day_count}", "from_day=0"),
        ("{kind: mean, numerator: spend}", "name="),
        ("{name: x, kind: mean}", "numerator=None cannot be used: required"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, line: str, words: str) -> None:
    with pytest.raises(InvalidMetrics, match=words):
        read_metrics(written(tmp_path, f"metrics:\n  - {line}\n"))


def test_a_file_without_a_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidMetrics, match="a list under `metrics:`"):
        read_metrics(written(tmp_path, "- 1\n"))


def test_a_window_closes_after_its_last_day() -> None:
    assert Metric("r", "retention", "active_day_count", from_day=7, window_days=7).closes_after_days == 14
