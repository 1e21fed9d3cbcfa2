"""How fresh and clean the data is, what is unusual, how quick the service is, and what is released."""

from collections import Counter
from datetime import UTC, datetime

import orjson
import pyarrow.parquet as pq

from feature_repo.layout import Home
from serving.metrics import Metrics
from serving.sheets import Answer, Column, tables_answer
from training.artifacts import Manifest

QUALITY_DAYS = 60
QUANTILES = {"p50": 0.5, "p99": 0.99}
COUNTS = ("rows", "quarantined", "duplicates")
FRESHNESS = {
    "stage": Column("text", "What was written."),
    "written_at": Column("instant", "When it was last written (UTC)."),
    "data_until": Column("text", "The last day of data in it, where it says."),
    "source_asset": Column("text", "What writes it."),
}
QUALITY = {
    "date": Column("text", "UTC day of the events."),
    "rows": Column("events", "Events landed."),
    "quarantined": Column("events", "Rows that broke the contract."),
    "duplicates": Column("events", "Rows that came before."),
}
ALERTS = {
    "family": Column("text", "Kind of figure."),
    "since": Column("text", "First day on which it was unusual."),
    "until": Column("text", "Last such day."),
    "text": Column("text", "What, how large, where to look."),
    "is_open": Column("text", "Whether it still is."),
}
LATENCY = {
    "route": Column("text", "Route of this process, since its start."),
    "requests": Column("requests", "Requests answered."),
    "p50": Column("seconds", "Half of them were answered within: upper end of a bucket."),
    "p99": Column("seconds", "99 of 100 were answered within: upper end of a bucket."),
}
MODELS = {
    "model": Column("text", "Model."),
    "version": Column("text", "Its registered version."),
    "metric": Column("text", "Metric on the test fold, when it was released."),
    "value": Column("number", "Its value."),
    "low": Column("number", "Lower end of its 95 % interval."),
    "high": Column("number", "Upper end."),
}
HOLDS = {"name": Column("text", "Table of the release."), "rows": Column("rows", "Its rows.")}


def health_tables(home: Home, metrics: Metrics) -> Answer:
    """Freshness of each stage, rows and refusals of the latest days, alerts, latency of the routes."""
    return tables_answer(
        {
            "freshness": (freshness(home), FRESHNESS, "transforms/marts"),
            "quality": (quality(home), QUALITY, "events/landed"),
            "alerts": (alerts(home), ALERTS, "monitoring/anomalies"),
            "latency": (latency(metrics), LATENCY, None),
        }
    )


def model_tables(manifest: Manifest) -> Answer:
    """The released models and their metrics; what the release holds."""
    holds = [{"name": name, "rows": rows} for name, rows in sorted(manifest.rows.items())]
    answer = tables_answer(
        {
            "models": (_metric_rows(manifest), MODELS, "release/built"),
            "release": (holds, HOLDS, "release/built"),
        }
    )
    return answer | {"release": manifest.release_id, "as_of": str(manifest.data_until)}


def _metric_rows(manifest: Manifest) -> list[Answer]:
    rows = []
    for model, each in sorted(manifest.models.items()):
        metrics = each.get("metrics") or {}
        for name, value in sorted(metrics.items()):
            if name.removesuffix("_low") in metrics and name.endswith("_low"):
                continue
            if name.removesuffix("_high") in metrics and name.endswith("_high"):
                continue
            ends = {"low": metrics.get(f"{name}_low"), "high": metrics.get(f"{name}_high")}
            rows.append(
                {"model": model, "version": each.get("version"), "metric": name, "value": value, **ends}
            )
    return rows


def latency(metrics: Metrics) -> list[Answer]:
    """Requests by route with the ends of the buckets that hold the median and the 99th percentile."""
    buckets: dict[str, list[tuple[float, float]]] = {}
    for family in metrics.registry.collect():
        for sample in family.samples:
            if sample.name == "attune_http_request_seconds_bucket":
                end = float(sample.labels["le"])
                buckets.setdefault(sample.labels["route"], []).append((end, sample.value))
    rows: list[Answer] = []
    for route, found in sorted(buckets.items()):
        found.sort()
        total = found[-1][1]
        if total:
            ends = {name: _bucket_end(found, total * share) for name, share in QUANTILES.items()}
            rows.append({"route": route, "requests": int(total), **ends})
    return rows


def _bucket_end(buckets: list[tuple[float, float]], wanted: float) -> float | None:
    """The upper end of the first bucket that holds so many; None beyond the last."""
    end = next(end for end, value in buckets if value >= wanted)
    return end if end != float("inf") else None


def freshness(home: Home) -> list[Answer]:
    """When each stage was last written."""
    rows = []
    manifest = home.current_marts / "manifest.json"
    if manifest.is_file():
        content = orjson.loads(manifest.read_bytes())
        rows.append(
            {
                "stage": "tables",
                "source_asset": "transforms/marts",
                "written_at": content["created_at"],
                "data_until": content["data_until"],
            }
        )
    for stage, asset, folder in (
        ("features", "features/online", home.features / "materialized.json"),
        ("predictions", "models/predictions", home.prediction("user_predictions")),
        ("attribution", "analysis/attribution", home.analysis("channel_credit")),
        ("release", "release/current", home.current_release),
    ):
        if folder.exists():
            written = datetime.fromtimestamp(folder.stat().st_mtime, UTC).isoformat()
            rows.append({"stage": stage, "source_asset": asset, "written_at": written, "data_until": None})
    return rows


def quality(home: Home) -> list[Answer]:
    """Rows landed and refused on each of the latest days, from the files' own notes."""
    rows = []
    for folder in sorted(home.events.glob("event_date=*"))[-QUALITY_DAYS:]:
        counts = Counter[str]()
        for path in folder.glob("*.parquet"):
            written = pq.read_metadata(path).metadata or {}
            for name in COUNTS:
                counts[name] += int(written.get(f"attune.{name}".encode(), 0))
        day = folder.name.removeprefix("event_date=")
        rows.append({"date": day, **{name: counts[name] for name in COUNTS}})
    return rows


def alerts(home: Home) -> list[Answer]:
    """What is unusual, or was lately; the newest first."""
    path = home.monitoring / "alerts.json"
    if not path.is_file():
        return []
    found = orjson.loads(path.read_bytes())["alerts"]
    return list(reversed(found))
