"""What is declared, and how many messages and customers stand where: for the API and the command."""

import asyncio
from typing import Any

from feature_repo.layout import Home
from serving.campaigns.definitions import read_campaigns
from serving.campaigns.journeys import diagram, named_journey, read_journeys
from serving.store import campaigns as store
from serving.store.database import Database


class Campaigns:
    """Campaigns and journeys of one home. The files are read when they are asked for: they are small."""

    def __init__(self, database: Database, home: Home) -> None:
        self._database = database
        self._home = home

    async def describe(self) -> dict[str, Any]:
        """Every campaign with its messages by state; every journey with its customers by state."""
        campaigns = await asyncio.to_thread(read_campaigns, self._home.campaigns_file)
        journeys = await asyncio.to_thread(read_journeys, self._home)
        messages = await self._database.read(store.counts)
        customers = await self._database.read(store.journey_counts)
        return {
            "campaigns": [
                {**each.model_dump(mode="json", by_alias=True), "messages": messages.get(each.name, {})}
                for each in campaigns
            ],
            "journeys": [
                {
                    "name": each.name,
                    "send": each.send,
                    "customers": customers.get(each.name, {}),
                    "diagram": diagram(each, customers.get(each.name, {})),
                }
                for each in journeys
            ],
        }

    async def diagram(self, name: str) -> str:
        """A journey for Mermaid, with how many customers are in each state. Raises `NotDeclared`."""
        journey = await asyncio.to_thread(named_journey, self._home, name)
        customers = await self._database.read(store.journey_counts)
        return diagram(journey, customers.get(name, {}))
