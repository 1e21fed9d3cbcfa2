"""Puts the service together from its settings: the one place that knows every part."""

from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, cast

from feature_repo.event_log import operational_url
from feature_repo.layout import Home
from serving.access.keys import Keyring, read_keys
from serving.access.rate_limit import RateLimiter
from serving.analytics import Analytics
from serving.campaigns.overview import Campaigns
from serving.decision_log import DecisionLog
from serving.experiments.arms import Experiments
from serving.experiments.results import Results
from serving.features import FeatureReader, UserStore
from serving.flags import Flags
from serving.live import LiveState, LiveView, LiveWriter
from serving.metrics import Metrics
from serving.operations import Operations
from serving.pages.storefront import Storefront, open_storefront
from serving.people.consent import ConsentBook, ConsentPolicy
from serving.people.customers import Customers
from serving.people.export import Export
from serving.people.history import History
from serving.people.identities import Identities
from serving.people.insights import Insights
from serving.people.preferences import Preferences
from serving.people.privacy import Privacy
from serving.people.profile import Profiles, ProfileView, Sources
from serving.people.tombstones import Tombstones
from serving.personalize import DecisionOptions, Personalizer
from serving.releases import ReleaseHolder, ServedRelease
from serving.rules import RULES_FILE, BusinessRules
from serving.settings import Settings
from serving.store.database import Database
from serving.tracking import Tracker


@dataclass(frozen=True)
class Runtime:
    """The running parts of one process."""

    metrics: Metrics
    reader: FeatureReader
    releases: ReleaseHolder
    personalizer: Personalizer
    profiles: Profiles
    operations: Operations
    keys: Keyring
    limiter: RateLimiter
    tombstones: Tombstones
    consent: ConsentBook
    preferences: Preferences
    customers: Customers
    privacy: Privacy
    export: Export
    database: Database
    tracker: Tracker
    identities: Identities
    live: LiveState
    history: History
    insights: Insights
    flags: Flags
    experiments: Experiments
    results: Results
    analytics: Analytics
    campaigns: Campaigns
    rules: BusinessRules
    decision_log: DecisionLog
    storefront: Storefront

    async def close(self) -> None:
        """Stop following releases and reading features; commit what waits."""
        await self.releases.close()
        await self.live.close()
        await self.identities.close()
        self.history.close()
        await self.reader.close()
        await self.consent.close()
        await self.tombstones.close()
        await self.experiments.close()
        await self.analytics.close()
        await self.rules.close()
        await self.storefront.close()
        self.decision_log.flush()
        await self.database.close()


async def open_runtime(
    settings: Settings,
    release: ServedRelease,
    open_store: Callable[[], UserStore] | None = None,
    profile_view: ProfileView | None = None,
) -> Runtime:
    """Start every part. A store that cannot be opened is no error: answers fall back until it can.

    `open_store` opens another online store than Feast's, which then takes the live rows too.
    """
    metrics = Metrics(settings.metrics_dir)
    keys = read_keys(settings.api_keys_file)
    flags = Flags(settings)
    reader = FeatureReader(
        open_store or online_store_opener(settings.home, settings.redis_url),
        metrics,
        settings.online_deadline_seconds,
    )
    releases = ReleaseHolder(release, settings, metrics)
    database = Database.open(
        operational_url(settings.home, settings.database_url), metrics, settings.database_deadline_seconds
    )
    tombstones = Tombstones(database)
    consent = ConsentBook(database, tombstones, ConsentPolicy.of(settings), settings.workers > 1)
    tracker = Tracker(database, consent.permissions, metrics, flags.enabled, heed=consent.heed)
    experiments = Experiments(
        database, tracker, flags, settings, metrics, lambda: releases.current.release_id
    )
    tombstones.add_listener(experiments.forget)
    identities = Identities(database, settings.workers > 1)
    tracker.add_listener(identities.observe)
    identities.add_listener(consent.inherit)
    tombstones.add_listener(identities.forget)
    live_view = (
        own_live_view(open_store) if open_store else feast_live_view(settings.home, settings.redis_url)
    )
    live = LiveState(database, reader, releases, identities, live_view, metrics, settings.workers > 1)
    tracker.add_listener(live.observe)
    tombstones.add_listener(live.forget)
    view = profile_view or feast_profile_view()
    rules = BusinessRules(database, settings.home.root / RULES_FILE)
    decision_log = DecisionLog(database, releases, metrics)
    personalizer = Personalizer(
        reader,
        releases,
        metrics,
        rules=rules,
        log=decision_log,
        permissions=consent.permissions,
        experiments=experiments,
        live=live,
        owner=identities.owner,
        disabled_by=flags.disabled_by,
        options=DecisionOptions(
            settings.exploration,
            settings.diversity,
            settings.cache_ttl,
            settings.receipts,
            asks_online=settings.workers > 1,
        ),
    )
    live.add_significant_listener(personalizer.stored.invalidate)
    tracker.add_listener(decision_log.observe)
    tracker.add_listener(personalizer.stored.observe)
    for forget in (decision_log.forget, personalizer.stored.forget):
        tombstones.add_listener(forget)
    preferences = Preferences(database, consent)
    customers = Customers(database, tombstones, reader)
    history = History(database, settings.home, tombstones.is_erased)
    insights = Insights(history, live, reader, releases, settings.clock == "wall")
    known = Sources(live, history, insights, customers.read, preferences.read, tombstones.is_erased)
    profiles = Profiles(reader, releases, view, known, metrics, settings.clock == "wall")
    store_kind = "redis" if settings.redis_url else "sqlite"
    operations = Operations(reader, releases, store_kind, database, settings.home, bool(keys))
    await tombstones.start()
    await consent.start()
    analytics = Analytics(settings.home, releases, database, metrics)
    analytics.start()
    await experiments.start()
    await rules.start()
    await reader.start()
    await identities.start()
    await live.start()
    releases.start()
    storefront = open_storefront(
        settings,
        reader=reader,
        releases=releases,
        permissions=experiments.holding_back(consent.permissions),
        owner_of=identities.owner,
        preferences=preferences,
        customers=customers,
        live=live,
        log=decision_log,
        personalizer=personalizer,
        experiments=experiments,
        tracker=tracker,
        database=database,
        flags=flags,
        metrics=metrics,
    )
    storefront.start()
    return Runtime(
        metrics=metrics,
        reader=reader,
        releases=releases,
        personalizer=personalizer,
        profiles=profiles,
        operations=operations,
        keys=keys,
        limiter=RateLimiter(settings.rate_limit, settings.workers),
        tombstones=tombstones,
        consent=consent,
        preferences=preferences,
        customers=customers,
        privacy=Privacy(database, tombstones, settings),
        export=Export(database, reader, settings.home),
        database=database,
        tracker=tracker,
        identities=identities,
        live=live,
        history=history,
        insights=insights,
        flags=flags,
        experiments=experiments,
        results=Results(settings.home),
        analytics=analytics,
        campaigns=Campaigns(database, settings.home),
        rules=rules,
        decision_log=decision_log,
        storefront=storefront,
    )


def online_store_opener(home: Home, redis_url: str | None) -> Callable[[], UserStore]:
    """What opens the online store, on the reader's thread. Imports Feast now, which takes seconds."""
    from feature_repo.store import OnlineReader, open_store

    return lambda: OnlineReader(open_store(home, redis_url))


def feast_live_view(home: Home, redis_url: str | None) -> LiveView:
    """How live rows are stored in Feast's view `user_live`."""
    from feature_repo.live_store import LIVE_FIELDS, LiveWriter, live_user
    from feature_repo.store import open_store

    return LiveView(LIVE_FIELDS, live_user, lambda: LiveWriter(open_store(home, redis_url)))


def own_live_view(open_store: Callable[[], Any]) -> LiveView:
    """For a store that was handed in: it takes live rows as they are, by `write`."""
    return LiveView(("row",), itemgetter("row"), lambda: cast(LiveWriter, open_store()))


def feast_profile_view() -> ProfileView:
    """The fields that a profile shows, from the feature definitions, and what is derived from them."""
    from feature_repo.derived import derive_user
    from feature_repo.user_features import user_behavior, user_outlook, user_predictions

    return ProfileView(
        behaviour_fields=tuple(each.name for each in user_behavior.features),
        prediction_fields=tuple(each.name for each in user_predictions.features),
        derive=derive_user,
        outlook_fields=tuple(each.name for each in user_outlook.features),
    )
