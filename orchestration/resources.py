"""What assets are handed: the home they work in, dbt, the feature store, the model registry.

Each is a small frozen object that opens its client when asked, so that a test hands in another one and
loading the definitions costs nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from feature_repo.erasure import Erased, read_erased
from feature_repo.layout import Home
from orchestration.errors import NothingToDo, SourceError, one_line
from orchestration.landing import Keeping, Progress
from orchestration.lock import hold
from orchestration.settings import Settings
from orchestration.sources.base import EVENT_LOG, Source, open_source

if TYPE_CHECKING:
    import pandas as pd
    from feast import FeatureStore

    from orchestration.dagster_dbt import DbtCliResource
    from training.registry import Registry


@dataclass(frozen=True)
class Workspace:
    """One installation.

    `locked`: this process holds its lock already, as `attune run` does. `opened`: the sources, if somebody
    opened them before. `progress`: called after each landed day.
    """

    settings: Settings
    locked: bool = False
    opened: Sequence[Source] = ()
    progress: Progress | None = None

    @property
    def home(self) -> Home:
        return self.settings.home

    @contextmanager
    def writing(self) -> Iterator[Home]:
        """The home, locked against other processes that write; raises `HomeLocked`."""
        with nullcontext() if self.locked else hold(self.home.lock):
            yield self.home

    def sources(self) -> Sequence[Source]:
        """The sources that this run reads; raises `NothingToDo` if none is configured, or a SourceError."""
        if self.opened:
            return self.opened
        if not self.settings.sources:
            raise NothingToDo(
                "no source is configured: set ATTUNE_SOURCE (and ATTUNE_SOURCE_PATH), "
                "or use `attune run --source NAME --path DIR`."
            )
        return open_sources(self.settings)

    def keeping(self) -> Keeping:
        """Who was erased and what is too old, as of now; raises SourceError if the store does not answer."""
        return Keeping(erased_now(self.settings), self.settings.retention)


def open_sources(settings: Settings) -> list[Source]:
    """Every source of the settings; raises a SourceError that names what is wrong with one."""
    return [_opened(settings, name) for name in settings.sources]


def _opened(settings: Settings, name: str) -> Source:
    if name == EVENT_LOG:
        from orchestration.sources.event_log import EventLogSource

        return EventLogSource.open(settings.home, settings.operational_url)
    assert settings.source_path is not None  # parse_sources saw to it
    return open_source(name, settings.source_path)


def erased_now(settings: Settings) -> Erased:
    """Everybody who was erased; raises SourceError if the store that knows does not answer."""
    try:
        return read_erased(settings.operational_url)
    except SQLAlchemyError as error:
        cause = one_line(getattr(error, "orig", None) or error)
        raise SourceError(
            f"the operational store, which lists the erased, cannot be read ({cause}); check DATABASE_URL."
        ) from error


@dataclass(frozen=True)
class Features:
    """The feature store of a home."""

    settings: Settings
    _frames: dict[tuple[Path, datetime], pd.DataFrame] = field(default_factory=dict, repr=False)

    def open(self) -> FeatureStore:
        from feature_repo.store import open_store

        return open_store(self.settings.home, self.settings.redis_url)

    def scoring_frame(self, at: datetime) -> pd.DataFrame:
        """That of the published marts, joined once for the stages of a run; not to be changed."""
        from training.dataset import scoring_frame

        marts = self.settings.home.current_marts.resolve()
        if (marts, at) not in self._frames:
            self._frames.clear()
            self._frames[marts, at] = scoring_frame(self.open(), marts, at)
        return self._frames[marts, at]


@dataclass(frozen=True)
class Models:
    """MLflow's tracking store and model registry."""

    settings: Settings

    def open(self) -> Registry:
        from training.registry import Registry

        self.settings.home.mlflow_artifacts.mkdir(parents=True, exist_ok=True)
        return Registry(self.settings.mlflow_tracking_uri, self.settings.home.mlflow_artifacts)


def dbt_resource() -> DbtCliResource:
    """dbt as a child process on our project.

    The stock resource first runs `dbt --version` (4 s, and a look at the network for newer releases) and then
    builds a second adapter inside this process (3 s), which only row-count and column metadata would use and
    which could not open the DuckDB file beside the writer anyway. Neither is wanted.
    """
    from packaging.version import Version

    from orchestration.dagster_dbt import DbtCliResource
    from orchestration.marts import TRANSFORMS

    class QuickDbtCliResource(DbtCliResource):
        @property
        def _cli_version(self) -> Version:
            return Version(version("dbt-core"))

        def _initialize_dbt_core_adapter(self, args: Any) -> Any:
            return None

    return QuickDbtCliResource(
        project_dir=str(TRANSFORMS),
        profiles_dir=str(TRANSFORMS),
        # The one beside this interpreter, whether or not its environment is activated.
        dbt_executable=str(Path(sys.executable).parent / "attune-dbt"),
    )


def default_resources(settings: Settings, locked: bool = False) -> dict[str, object]:
    """The real resources, by the names that assets ask for."""
    return {
        "workspace": Workspace(settings, locked),
        "features": Features(settings),
        "models": Models(settings),
    }
