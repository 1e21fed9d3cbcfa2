"""Puts the service together from its settings: the one place that knows every part."""

from collections.abc import Callable
from dataclasses import dataclass

from feature_repo.layout import Home
from serving.features import FeatureReader, UserStore
from serving.metrics import Metrics
from serving.operations import Operations
from serving.personalize import Personalizer, ProfileView
from serving.releases import ReleaseHolder, ServedRelease
from serving.settings import Settings


@dataclass(frozen=True)
class Runtime:
    """The running parts of one process."""

    metrics: Metrics
    reader: FeatureReader
    releases: ReleaseHolder
    personalizer: Personalizer
    operations: Operations

    async def close(self) -> None:
        """Stop following releases and reading features."""
        await self.releases.close()
        await self.reader.close()


async def open_runtime(
    settings: Settings,
    release: ServedRelease,
    open_store: Callable[[], UserStore] | None = None,
    profile_view: ProfileView | None = None,
) -> Runtime:
    """Start every part. A store that cannot be opened is no error: answers fall back until it can."""
    metrics = Metrics(settings.metrics_dir)
    reader = FeatureReader(
        open_store or online_store_opener(settings.home, settings.redis_url),
        metrics,
        settings.online_deadline_seconds,
    )
    releases = ReleaseHolder(release, settings, metrics)
    view = profile_view or feast_profile_view()
    personalizer = Personalizer(reader, releases, view, metrics, settings.clock == "wall")
    operations = Operations(reader, releases, "redis" if settings.redis_url else "sqlite")
    await reader.start()
    releases.start()
    return Runtime(metrics, reader, releases, personalizer, operations)


def online_store_opener(home: Home, redis_url: str | None) -> Callable[[], UserStore]:
    """What opens the online store, on the reader's thread. Imports Feast now, which takes seconds."""
    from feature_repo.store import OnlineReader, open_store

    return lambda: OnlineReader(open_store(home, redis_url))


def feast_profile_view() -> ProfileView:
    """The fields that a profile shows, from the feature definitions, and what is derived from them."""
    from feature_repo.derived import derive_user
    from feature_repo.user_features import user_behavior, user_predictions

    return ProfileView(
        behaviour_fields=tuple(each.name for each in user_behavior.features),
        prediction_fields=tuple(each.name for each in user_predictions.features),
        derive=derive_user,
    )
