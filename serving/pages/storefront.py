"""Puts together what answers for pages, search, messages, offers and prices."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.errors import InvalidSetting, StoreUnavailable, UnknownCustomer
from serving.experiments.arms import Experiments
from serving.features import FeatureReader
from serving.flags import Flags
from serving.live import LiveState
from serving.metrics import Metrics
from serving.pages.bundles import Bundles
from serving.pages.content import Contents
from serving.pages.deciding import DecisionLog, Desk
from serving.pages.experience import Assigned, Experiences
from serving.pages.homepage import Homepages
from serving.pages.messages import MessagePolicy, Messages, NameOf
from serving.pages.offers import Offers
from serving.pages.pricing import PriceBounds, Pricing
from serving.pages.responses import Responses
from serving.pages.search import Searches
from serving.pages.variants import VARIANTS_FILE, BrokenVariants, Element, read_variants
from serving.pages.visitors import LiveVisitor, Visitors
from serving.people.customers import Customers
from serving.people.permissions import Permissions, Signals
from serving.people.preferences import Preferences
from serving.personalize import Personalizer
from serving.recommendations.ask import RecommendAsk
from serving.releases import ReleaseHolder
from serving.settings import Settings
from serving.store.database import Database
from serving.tracking import Tracker

OWN_VARIANTS = Path("config") / "experience_variants.yml"
"""Below ATTUNE_HOME: stands instead of the packaged file."""


@dataclass(frozen=True)
class Storefront:
    """The cores of pages, search, messages, offers and prices of one process."""

    homepage: Homepages
    content: Contents
    experience: Experiences
    search: Searches
    messages: Messages
    offers: Offers
    pricing: Pricing
    bundles: Bundles
    responses: Responses

    def start(self) -> None:
        """Follow what visitors answer."""
        self.responses.start()

    async def close(self) -> None:
        """Log what was served, and stop following."""
        await self.experience.close()
        await self.responses.close()


def open_storefront(
    settings: Settings,
    *,
    reader: FeatureReader,
    releases: ReleaseHolder,
    permissions: Callable[[str | None, Signals], Permissions],
    owner_of: Callable[[str], str],
    preferences: Preferences,
    customers: Customers,
    live: LiveState,
    log: DecisionLog,
    personalizer: Personalizer,
    experiments: Experiments,
    tracker: Tracker,
    database: Database,
    flags: Flags,
    metrics: Metrics,
) -> Storefront:
    """Every core over the same visitors, log and evidence. InvalidSetting for broken variants."""
    visitors = Visitors(reader, releases, permissions, preferences.read, live_reader(live), owner_of)
    desk = Desk(visitors, releases, log, metrics, recommender(personalizer))
    responses = Responses(database)
    bounds = PriceBounds.of(settings)
    contents = Contents(desk, responses)
    offers = Offers(desk, responses, tracker, bounds)
    return Storefront(
        homepage=Homepages(desk, responses, assigner(experiments, "homepage")),
        content=contents,
        experience=Experiences(
            desk,
            responses,
            tracker,
            own_variants(settings.home.root),
            settings.confidence_threshold,
            assigner(experiments, "experience"),
        ),
        search=Searches(desk, flags),
        messages=Messages(
            desk, responses, contents, offers, flags, MessagePolicy.of(settings), namer(customers)
        ),
        offers=offers,
        pricing=Pricing(desk, flags, bounds),
        bundles=Bundles(desk, bounds),
        responses=responses,
    )


def own_variants(home: Path) -> dict[str, Element]:
    """The home's own variants if it has some, else the packaged ones."""
    path = home / OWN_VARIANTS
    if not path.is_file():
        return read_variants(VARIANTS_FILE)
    try:
        return read_variants(path)
    except BrokenVariants as error:
        raise InvalidSetting("experience_variants.yml", str(path), str(error)) from error


def recommender(personalizer: Personalizer) -> Callable[..., Any]:
    """Items for a page from the core of recommendations."""

    async def recommend(
        visitor_id: str, limit: int, signals: Signals, page: str, kind: str
    ) -> Mapping[str, Any]:
        ask = RecommendAsk(visitor_id, limit, page=page, signals=signals, kind=kind)
        return await personalizer.recommend(ask)

    return recommend


def live_reader(live: LiveState) -> Callable[..., Any]:
    """One visitor's live features."""

    async def read(visitor_id: str) -> LiveVisitor | None:
        [found] = await live.read([visitor_id])
        return found

    return read


def assigner(experiments: Experiments, scope: str) -> Assigned:
    """What experiments set for a visitor, by what the request says; who met an arm is counted."""

    def assigned(
        visitor_id: str, permissions: Permissions, attributes: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        found = experiments.parameters(visitor_id, permissions, attributes, scope)
        if found.arms:
            experiments.expose(visitor_id, found.arms)
        return found.values

    return assigned


def namer(customers: Customers) -> NameOf:
    """A customer's first name, for a subject line; None where it is not known."""

    async def name(user_id: str) -> str | None:
        try:
            found = await customers.read(user_id)
        except (UnknownCustomer, StoreUnavailable):
            return None
        words = str(found.get("name") or "").split()
        return words[0] if words else None

    return name
