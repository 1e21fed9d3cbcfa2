"""Where everything lives under ATTUNE_HOME.

Pure paths: nothing here touches the disk or reads the environment. The process that owns the settings
(orchestration or serving) builds one `Home` and hands it in.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Home:
    """The state directory of one installation, as paths."""

    root: Path

    # landed input

    @property
    def landing(self) -> Path:
        return self.root / "landing"

    @property
    def events(self) -> Path:
        """Landed events: one folder `event_date=YYYY-MM-DD` a day."""
        return self.landing / "events"

    @property
    def quarantine(self) -> Path:
        """Rows that broke the contract: one folder `event_date=YYYY-MM-DD` a day."""
        return self.landing / "quarantine"

    @property
    def items_file(self) -> Path:
        return self.landing / "items.parquet"

    @property
    def customers_file(self) -> Path:
        return self.landing / "customers.parquet"

    @property
    def content_file(self) -> Path:
        """Articles, videos and what customers made; absent where the source has none."""
        return self.landing / "content.parquet"

    @property
    def marketing_spend_file(self) -> Path:
        """What marketing cost by day and channel; empty where no source tells it."""
        return self.landing / "marketing_spend.parquet"

    @property
    def event_log_mark(self) -> Path:
        """How far the live event log is landed."""
        return self.landing / "event_log.json"

    @property
    def retention_mark(self) -> Path:
        """Up to which day, and by which policy, retention was applied to the landed files."""
        return self.landing / "retention.json"

    # transformed tables

    @property
    def warehouse(self) -> Path:
        """The DuckDB file; dbt alone writes it."""
        return self.root / "warehouse" / "attune.duckdb"

    @property
    def dbt_target(self) -> Path:
        return self.root / "dbt"

    @property
    def marts(self) -> Path:
        return self.root / "marts"

    @property
    def mart_versions(self) -> Path:
        return self.marts / "versions"

    @property
    def current_marts(self) -> Path:
        """Symlink to the published version of the marts; replaced atomically."""
        return self.marts / "current"

    def mart(self, name: str) -> Path:
        """Folder of the flat Parquet files of one published mart."""
        return self.current_marts / name

    def mart_glob(self, name: str) -> str:
        """Pattern that matches the Parquet files of one published mart."""
        return str(self.mart(name) / "*.parquet")

    # analyses

    def analysis(self, name: str) -> Path:
        """The Parquet file of one analysis of the published marts, such as `channel_credit`."""
        return self.root / "analysis" / f"{name}.parquet"

    # features

    @property
    def features(self) -> Path:
        return self.root / "features"

    @property
    def registry_db(self) -> Path:
        """Feast's SQL registry (SQLite)."""
        return self.features / "registry.db"

    @property
    def online_db(self) -> Path:
        """Feast's online store (SQLite), unless Redis is configured."""
        return self.features / "online.db"

    @property
    def predictions(self) -> Path:
        """Model outputs that are served as features."""
        return self.features / "predictions"

    @property
    def live_features(self) -> Path:
        """Where files behind the pushed features would be. Nobody writes any: the event log has them."""
        return self.features / "live"

    def prediction(self, name: str) -> Path:
        """Folder of the flat Parquet files of one prediction table, such as `user_candidates`."""
        return self.predictions / name

    def prediction_glob(self, name: str) -> str:
        """Pattern that matches the Parquet files of one prediction table."""
        return str(self.prediction(name) / "*.parquet")

    @property
    def segments_file(self) -> Path:
        """The behavioural segments that moves are measured against."""
        return self.features / "segments.json"

    @property
    def item_matrices(self) -> Path:
        """What the champion's sources learned of items, for the days until they are fitted again."""
        return self.features / "item_matrices"

    # models and releases

    @property
    def mlflow(self) -> Path:
        return self.root / "mlflow"

    @property
    def mlflow_db(self) -> Path:
        return self.mlflow / "mlflow.db"

    @property
    def mlflow_artifacts(self) -> Path:
        return self.mlflow / "artifacts"

    @property
    def releases(self) -> Path:
        return self.root / "releases"

    def release(self, release_id: str) -> Path:
        """Folder of one immutable release."""
        return self.releases / release_id

    @property
    def current_release(self) -> Path:
        """Small text file with the id of the release to serve; replaced atomically."""
        return self.releases / "current"

    @property
    def withdrawn_releases(self) -> Path:
        """JSON list of the releases that somebody went back from: their lists are not shown any more."""
        return self.releases / "withdrawn.json"

    @property
    def bentoml(self) -> Path:
        return self.root / "bentoml"

    @property
    def drift(self) -> Path:
        """Drift of the champions, a Parquet file for each day of data at whose end it was measured."""
        return self.root / "monitoring" / "drift"

    # the operational store, on one machine

    @property
    def operational(self) -> Path:
        return self.root / "operational"

    @property
    def operational_db(self) -> Path:
        """Events, customers, consent, decisions (SQLite), unless DATABASE_URL names a PostgreSQL."""
        return self.operational / "attune.db"

    @property
    def experiments_file(self) -> Path:
        """Experiments that the operator defines in a file; the API's lie in the operational store."""
        return self.root / "experiments.yaml"

    @property
    def experiment_metrics_file(self) -> Path:
        """Metrics of experiments that the operator changes or adds; absent: the built-in ones."""
        return self.root / "experiment_metrics.yaml"

    @property
    def experiment_results(self) -> Path:
        """One JSON file per experiment, replaced whole by each run; and what A/A simulations showed."""
        return self.root / "experiments"

    def experiment_result(self, experiment_id: str) -> Path:
        """The published result of one experiment."""
        return self.experiment_results / f"{experiment_id}.json"

    # campaigns

    @property
    def campaigns_file(self) -> Path:
        """Campaigns that the marketer declares."""
        return self.root / "campaigns.yaml"

    @property
    def journeys_file(self) -> Path:
        """Journeys that the marketer declares."""
        return self.root / "journeys.yaml"

    @property
    def campaigns(self) -> Path:
        return self.root / "campaigns"

    @property
    def campaign_customers(self) -> Path:
        """Whom campaigns may choose from: one row per customer."""
        return self.campaigns / "customers.parquet"

    @property
    def campaign_uplift(self) -> Path:
        """What a message of each campaign is expected to earn with each customer, where that is known."""
        return self.campaigns / "uplift.parquet"

    @property
    def campaign_runs(self) -> Path:
        """Plans: a folder for each campaign."""
        return self.campaigns / "runs"

    def campaign_run(self, name: str, day: str) -> Path:
        """What one campaign planned on one day: one row per customer, of either arm."""
        return self.campaign_runs / name / f"{day}.parquet"

    # runs

    @property
    def monitoring(self) -> Path:
        """What is unusual in the shop's figures, and who was told."""
        return self.root / "monitoring"

    @property
    def dagster(self) -> Path:
        return self.root / "dagster"

    @property
    def lock(self) -> Path:
        """Held by the one run that writes this home."""
        return self.root / "run.lock"

    @property
    def truth(self) -> Path:
        """What the simulator knows about its world; only evaluation may read it."""
        return self.root / "truth"
