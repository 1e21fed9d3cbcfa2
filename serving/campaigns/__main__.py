"""`python -m serving.campaigns`: plan, send, show. `attune campaign` starts it in the settings' environment.

    run NAME [--send]   plan today's messages of a campaign; drafts, unless --send queues them
    daily               plan every campaign that runs today, and move customers through their journeys
    send                send what is queued and due
    list                campaigns and journeys, and how many messages and customers stand where
    diagram NAME        a journey as a Mermaid diagram

Prints one JSON object, `diagram` its text.
"""

import argparse
import asyncio
import json
from datetime import UTC, datetime
from typing import Any

from serving.campaigns.definitions import Campaign, read_campaigns
from serving.declared import named
from serving.errors import ServingError, end_command
from serving.logs import configure_logs
from serving.settings import Settings, read_settings


def main() -> None:
    """Parse, do, print; what can be expected to fail is one line and an exit code."""
    parser = argparse.ArgumentParser(prog="attune campaign", description="Campaigns and journeys.")
    parser.add_argument("action", choices=("run", "daily", "send", "list", "diagram"))
    parser.add_argument("name", nargs="?")
    parser.add_argument("--send", action="store_true", help="queue the messages, not only draft them")
    asked = parser.parse_args()
    if asked.send and asked.action != "run":
        parser.error(f"--send belongs to run, not to {asked.action}: there `send: true` of the file counts")
    try:
        settings = read_settings()
        configure_logs(settings.log_level)
        print(answer(settings, asked.action, asked.name, asked.send))  # noqa: T201 (a command's answer)
    except ServingError as error:
        end_command(error)


def answer(settings: Settings, action: str, name: str | None, send: bool) -> str:
    """What the command prints."""
    if action == "diagram":
        from serving.campaigns.journeys import diagram, named_journey

        return diagram(named_journey(settings.home, name))
    work = {"run": _run, "daily": _daily, "send": _send, "list": _list}[action]
    found = asyncio.run(work(settings, name, send))
    return json.dumps(found, indent=2, default=str)


async def _run(settings: Settings, name: str | None, send: bool) -> dict[str, Any]:
    from serving.campaigns.process import planning

    campaign = _named(settings, name)
    async with planning(settings) as planner:
        plan = await planner.run(campaign, datetime.now(UTC).date(), send)
    return plan.summary()


async def _daily(settings: Settings, name: str | None, send: bool) -> dict[str, Any]:
    from serving.campaigns.process import daily

    return await daily(settings, datetime.now(UTC))


async def _send(settings: Settings, name: str | None, send: bool) -> dict[str, Any]:
    from serving.campaigns.process import sending

    async with sending(settings) as sender:
        return dict(await sender.send_due())


async def _list(settings: Settings, name: str | None, send: bool) -> dict[str, Any]:
    from serving.campaigns.process import looking

    async with looking(settings) as campaigns:
        return await campaigns.describe()


def _named(settings: Settings, name: str | None) -> Campaign:
    file = settings.home.campaigns_file
    return named(read_campaigns(file), "campaign", name, file)


if __name__ == "__main__":
    main()
