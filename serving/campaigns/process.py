"""The parts that a command needs, opened and closed: planning knows everything, sending only the store."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

from feature_repo.event_log import operational_url
from serving.campaigns.definitions import JOURNEY, read_campaigns
from serving.campaigns.delivery import Gate, Sender, ways_out
from serving.campaigns.journeys import Mover, read_journeys
from serving.campaigns.overview import Campaigns
from serving.campaigns.planning import Planner
from serving.flags import Flags
from serving.metrics import Metrics
from serving.pages.messages import MessagePolicy
from serving.people.consent import ConsentBook, ConsentPolicy
from serving.people.tombstones import Tombstones
from serving.releases import find_release, read_release
from serving.runtime import Runtime, open_runtime
from serving.settings import Settings
from serving.store.database import Database
from serving.tracking import Tracker

DATABASE_SECONDS = 10.0
"""A command waits longer for the store than a request may."""


@asynccontextmanager
async def planning(settings: Settings) -> AsyncIterator[Planner]:
    """A planner over the current release and the online store; it may wait longer than a request."""
    patient = int(DATABASE_SECONDS * 1000)
    settings = replace(settings, online_deadline_ms=patient, database_deadline_ms=patient)
    runtime = await open_runtime(settings, read_release(find_release(settings)))
    try:
        yield planner_of(runtime, settings)
    finally:
        await runtime.close()


def planner_of(runtime: Runtime, settings: Settings) -> Planner:
    """A planner of running parts."""
    return Planner(
        runtime.database,
        runtime.storefront.messages,
        settings.home,
        runtime.tombstones.is_erased,
        settings.holdout_share,
        needs_address=bool(settings.smtp_url),
    )


@asynccontextmanager
async def sending(settings: Settings) -> AsyncIterator[Sender]:
    """A sender of the home's outbox. Raises `StoreUnavailable` if consent cannot be read."""
    metrics = Metrics()
    database = Database.open(operational_url(settings.home, settings.database_url), metrics, DATABASE_SECONDS)
    tombstones = Tombstones(database)
    consent = ConsentBook(database, tombstones, ConsentPolicy.of(settings))
    try:
        await tombstones.start()
        await consent.start()
        await tombstones.follow()
        await consent.follow()
        campaigns = {each.name: each for each in read_campaigns(settings.home.campaigns_file)}
        gate = Gate(database, tombstones, consent, MessagePolicy.of(settings), campaigns)
        tracker = Tracker(database, consent.permissions, metrics, Flags(settings).enabled)
        yield Sender(database, gate, tracker, ways_out(settings))
    finally:
        await consent.close()
        await tombstones.close()
        await database.close()


async def daily(settings: Settings, now: datetime) -> dict[str, Any]:
    """Plan every campaign that runs today, and move customers; nothing is loaded where there is none.

    On data that is not fresh campaigns are drafted only, and no list brings anybody into a journey.
    """
    campaigns = read_campaigns(settings.home.campaigns_file)
    journeys = read_journeys(settings.home)
    running = [each for each in campaigns if each.is_running(now.date()) and each.audience.list != JOURNEY]
    found: dict[str, Any] = {"campaigns": [], "journeys": {}}
    if not running and not journeys:
        return found
    async with planning(settings) as planner:
        for campaign in running:
            send = campaign.send and planner.is_fresh(now)
            plan = await planner.run(campaign, now.date(), send, now)
            found["campaigns"].append(plan.summary() | {"sends": send})
        mover = Mover(planner, {each.name: each for each in campaigns})
        for journey in journeys:
            if journey.trigger.audience is not None and not planner.is_fresh(now):
                journey = journey.model_copy(update={"send": False})
            found["journeys"][journey.name] = dict(await mover.advance(journey, now))
    return found


@asynccontextmanager
async def looking(settings: Settings) -> AsyncIterator[Campaigns]:
    """The overview of the home."""
    url = operational_url(settings.home, settings.database_url)
    database = Database.open(url, Metrics(), DATABASE_SECONDS)
    try:
        yield Campaigns(database, settings.home)
    finally:
        await database.close()
