"""Prometheus metrics of the service: a registry of our own, labels of bounded variety.

Routes are labelled by their template, never by path: an id in a label would make one series a customer. With
several workers each one writes to BentoML's shared directory and any of them answers for all.
"""

from collections.abc import Iterable
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

Metric = TypeVar("Metric", Counter, Histogram)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
REQUEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0)
READ_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """What the service counts. One instance a process."""

    def __init__(self, metrics_dir: str | None = None) -> None:
        self._metrics_dir = metrics_dir
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "attune_http_requests",
            "HTTP requests answered",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "attune_http_request_seconds",
            "Seconds from request to the end of the answer",
            ["route"],
            buckets=REQUEST_BUCKETS,
            registry=self.registry,
        )
        self.answers = Counter(
            "attune_answers",
            "Answers by kind and by why they fell back ('none': they did not)",
            ["kind", "fallback"],
            registry=self.registry,
        )
        self.store_read_seconds = Histogram(
            "attune_online_read_seconds",
            "Seconds of one batch read from the online store",
            buckets=READ_BUCKETS,
            registry=self.registry,
        )
        self.store_batch_size = Histogram(
            "attune_online_read_customers",
            "Customers in one batch read from the online store",
            buckets=BATCH_BUCKETS,
            registry=self.registry,
        )
        self.store_failures = Counter(
            "attune_online_read_failures",
            "Batch reads from the online store that failed, by reason",
            ["reason"],
            registry=self.registry,
        )
        self.store_open = Gauge(
            "attune_online_circuit_open",
            "1 while the online store is left alone after failures (largest of the workers)",
            multiprocess_mode="livemax",
            registry=self.registry,
        )
        self.release = Gauge(
            "attune_release_loaded",
            "Workers that serve this release",
            ["release"],
            multiprocess_mode="livesum",
            registry=self.registry,
        )
        self.release_loads = Counter(
            "attune_release_loads",
            "Attempts to load a release, by outcome",
            ["outcome"],
            registry=self.registry,
        )
        self.tracked_events = Counter(
            "attune_tracked_events",
            "Events by the route that brought them and by what became of them",
            ["route", "status"],
            registry=self.registry,
        )
        self.database_read_seconds = Histogram(
            "attune_database_read_seconds",
            "Seconds of one query of the operational store",
            buckets=READ_BUCKETS,
            registry=self.registry,
        )
        self.database_commit_seconds = Histogram(
            "attune_database_commit_seconds",
            "Seconds of one group of changes, from the first statement to the end of the commit",
            buckets=READ_BUCKETS,
            registry=self.registry,
        )
        self.database_group_size = Histogram(
            "attune_database_group_size",
            "Changes that were committed together",
            buckets=BATCH_BUCKETS,
            registry=self.registry,
        )
        self.database_failures = Counter(
            "attune_database_failures",
            "Failures of the operational store by reason: timeout, error, probe, unawaited change",
            ["reason"],
            registry=self.registry,
        )
        self.database_dropped = Counter(
            "attune_database_dropped",
            "Unawaited changes that were not taken: the store is away or too many wait",
            registry=self.registry,
        )
        self.database_circuit_open = Gauge(
            "attune_database_circuit_open",
            "1 while the operational store is left alone after failures (largest of the workers)",
            multiprocess_mode="livemax",
            registry=self.registry,
        )
        self.decisions_recorded = Counter(
            "attune_decisions_recorded",
            "Decisions handed to the operational store, and those it could not take",
            ["outcome"],
            registry=self.registry,
        )
        self.exposures = Counter(
            "attune_experiment_exposures",
            "First exposures by outcome: logged, refused (consent), dropped (too many wait)",
            ["outcome"],
            registry=self.registry,
        )
        self.live_push_seconds = Histogram(
            "attune_live_push_seconds",
            "Seconds of one push of live rows to the online store, their derivation included",
            buckets=READ_BUCKETS,
            registry=self.registry,
        )
        self.live_pushed_rows = Counter(
            "attune_live_pushed_rows", "Live rows pushed to the online store", registry=self.registry
        )
        self.live_push_failures = Counter(
            "attune_live_push_failures",
            "Pushes of live rows that failed; their rows are pushed again",
            registry=self.registry,
        )
        self.live_visitors = Gauge(
            "attune_live_visitors",
            "Visitors whose acts since the last batch are in memory",
            multiprocess_mode="livesum",
            registry=self.registry,
        )
        self._requests = LabelCache(self.requests)
        self._seconds = LabelCache(self.request_seconds)
        self._answers = LabelCache(self.answers)

    def observe_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request under its route template."""
        self._requests[method, route, str(status)].inc()
        self._seconds[(route,)].observe(seconds)

    def count_answers(self, kind: str, fallbacks: Iterable[str | None]) -> None:
        """Count answers of one kind ('recommendations', 'profile') by their fallback reason."""
        for reason in fallbacks:
            self._answers[kind, reason or "none"].inc()

    def show_release(self, release_id: str, previous: str | None) -> None:
        """Mark which release this worker serves."""
        if previous is not None and previous != release_id:
            self.release.labels(previous).set(0)
        self.release.labels(release_id).set(1)

    def exposition(self) -> bytes:
        """All metrics in Prometheus text format, of all workers when they share a directory."""
        if self._metrics_dir is None:
            return generate_latest(self.registry)
        shared = CollectorRegistry()
        MultiProcessCollector(shared, path=self._metrics_dir)  # type: ignore[no-untyped-call]
        return generate_latest(shared)


class LabelCache(dict[tuple[str, ...], Metric]):
    """Labelled children of one metric, looked up once: `labels()` costs more than counting does."""

    def __init__(self, metric: Metric) -> None:
        super().__init__()
        self._metric: Metric = metric

    def __missing__(self, labels: tuple[str, ...]) -> Metric:
        child: Metric = self._metric.labels(*labels)
        self[labels] = child
        return child
