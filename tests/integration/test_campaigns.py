"""A campaign from its declaration to a real mail server and back to the log, on both kinds of store."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import Message
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from aiosmtpd.controller import Controller

from feature_repo.event_log import events
from serving.campaigns.definitions import Campaign, read_campaigns
from serving.campaigns.journeys import Mover, read_journeys
from serving.campaigns.planning import arm_of
from serving.campaigns.process import planner_of, sending
from serving.errors import NothingToSend
from serving.people.consent import Change
from serving.people.permissions import NO_SIGNALS
from serving.settings import Settings
from serving.store.campaigns import campaign_messages, journey_customers
from serving.store.customers import insert_customer
from tests.served import Served, served
from tests.servers import free_port

pytestmark = pytest.mark.integration

NOON = (datetime.now(UTC) - timedelta(days=3)).replace(hour=12, minute=0, second=0, microsecond=0)
DECLARED = """
campaigns:
  - name: keep-them
    audience: {list: at_risk}
    send_time: soonest
    control_share: 0.3
    cost_per_message: 0.5
    budget: 5
    start: 2020-01-01
    content: {product_link: "https://shop.example/{item_id}", unsubscribe_link: "https://shop.example/u/{user_id}"}
  - {name: welcome, audience: {list: journey}, send_time: soonest, control_share: 0, start: 2020-01-01}
"""
JOURNEYS = """
journeys:
  - name: hello
    send: true
    trigger: {event: signup}
    first: greet
    states:
      greet: {act: {send: welcome}, next: pause}
      pause: {wait: {days: 3}, next: bought}
      bought: {branch: [{if: {event: purchase}, next: done}], otherwise: pause}
      done: {end: true}
"""


class Inbox:
    """A mail server that takes what it is not told to refuse."""

    def __init__(self) -> None:
        self.mails: list[Message] = []
        self.refused: dict[str, str] = {}

    async def handle_RCPT(self, _s: Any, _n: Any, envelope: Any, address: str, _o: Any) -> str:  # noqa: N802
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        self.mails.append(message_from_bytes(envelope.content))
        return "250 OK"

    @property
    def receivers(self) -> Counter[str]:
        return Counter(str(mail["To"]).partition("@")[0] for mail in self.mails)


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def smtp(inbox: Inbox) -> Iterator[str]:
    port = free_port()
    controller = Controller(inbox, hostname="127.0.0.1", port=port)
    controller.start()
    yield f"smtp://127.0.0.1:{port}"
    controller.stop()


def people(campaign: Campaign) -> tuple[list[str], list[str]]:
    """Seven customers who get it and three who are held out."""
    ids = [f"u{number}" for number in range(60)]
    treated = [each for each in ids if arm_of(campaign, each) == "treated"]
    return treated[:7], [each for each in ids if each not in treated][:3]


async def settle_in(running: Served, users: list[str]) -> None:
    """Addresses, consent to e-mail, and the customers' table of a run."""
    for user_id in users:
        row = {"user_id": user_id, "created_at": 1, "updated_at": 1, "attributes": {}}
        row |= dict.fromkeys(("name", "age", "gender", "location")) | {"email": f"{user_id}@shop.example"}
        await running.runtime.database.write(partial(insert_customer, row=row))
        await running.runtime.consent.record(user_id, [Change("email", True, "test")])
    rows = [
        {"user_id": each, "list": "at_risk", "expected_saving": 9.0, "clv_90d": 1.0}
        | {"replenish_item_id": None, "replenish_in_days": None, "as_of": NOON}
        for each in [*users, "without-an-address"]
    ]
    path = running.settings.home.campaign_customers
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


async def states(running: Served) -> dict[str, tuple[str, str | None]]:
    def query(connection: sa.Connection) -> dict[str, tuple[str, str | None]]:
        table = campaign_messages.c
        return {row[0]: (row[1], row[2]) for row in connection.execute(
            sa.select(table.user_id, table.state, table.reason)
        )}  # fmt: skip

    return await running.runtime.database.read(query)


async def logged(running: Served, event_type: str) -> set[str]:
    def query(connection: sa.Connection) -> set[str]:
        found = sa.select(events.c.user_id, events.c.body).where(events.c.event_type == event_type)
        rows = connection.execute(found).all()
        assert all('"campaign_id":"keep-them"' in row[1] for row in rows)
        return {row[0] for row in rows}

    return await running.runtime.database.read(query)


async def send(settings: Settings, at: datetime) -> Counter[str]:
    async with sending(settings) as sender:
        return await sender.send_due(at)


def test_a_campaign_is_drafted_released_sent_once_and_measured(
    tmp_path: Path, store_url: sa.URL, inbox: Inbox, smtp: str
) -> None:
    async def scenario(stack: AsyncExitStack) -> None:
        environment = {
            "ATTUNE_SMTP_URL": smtp,
            "ATTUNE_MAIL_FROM": "shop@shop.example",
            "DATABASE_URL": store_url.render_as_string(hide_password=False),
        }
        running = await stack.enter_async_context(served(tmp_path, env=environment))
        settings = running.settings
        home = settings.home
        home.campaigns_file.write_text(DECLARED, encoding="utf-8")
        [campaign, _] = read_campaigns(home.campaigns_file)
        treated, control = people(campaign)
        await settle_in(running, [*treated, *control])
        planner = planner_of(running.runtime, settings)

        # a draft, twice; nothing leaves
        drafted = await planner.run(campaign, NOON.date(), send=False, now=NOON)
        assert drafted.summary()["left_out"] == {"no_address": 1}
        assert (drafted.summary()["treated"], drafted.summary()["control"]) == (len(treated), len(control))
        again = await planner.run(campaign, NOON.date(), send=False, now=NOON)
        assert not again.is_new and len(again.rows) == len(drafted.rows)
        assert await send(settings, NOON) == {}
        [file] = home.campaigns.rglob("runs/**/*.parquet")
        written = pq.read_table(file, partitioning=None).to_pylist()
        assert {row["user_id"]: row["arm"] for row in written} == {
            **dict.fromkeys(treated, "treated"), **dict.fromkeys(control, "control")
        }  # fmt: skip

        # what is known of customers is old: nothing is queued on it
        months_later = NOON + timedelta(days=90)
        with pytest.raises(NothingToSend, match="older than 14 days"):
            await planner.run(campaign, months_later.date(), send=True, now=months_later)

        # released; by the time they are due some may not be written to any more
        assert (await planner.run(campaign, NOON.date(), send=True, now=NOON)).released == len(written)
        revoked, erased, bounced, busy, *others = treated
        await running.runtime.consent.record(revoked, [Change("email", False, "test")])
        await running.runtime.privacy.erase(erased)
        inbox.refused = {f"{bounced}@shop.example": "550 unknown", f"{busy}@shop.example": "451 later"}
        night = NOON.replace(hour=22)
        assert await send(settings, night) == {"postponed": len(written) - 2, "skipped": 1}
        assert inbox.mails == []
        morning = NOON.replace(hour=9) + timedelta(days=1)
        ends = await send(settings, morning)
        assert ends == {
            "sent": len(others), "held_out": len(control), "failed": 1, "retried": 1
        }  # fmt: skip
        assert inbox.receivers == dict.fromkeys(others, 1)

        # once
        assert await send(settings, morning) == {}
        inbox.refused = {}
        assert await send(settings, morning + timedelta(minutes=6)) == {"sent": 1}
        assert inbox.receivers == dict.fromkeys([*others, busy], 1)
        found = await states(running)
        assert found[bounced] == ("failed", "the mail server refused it (550)")
        assert found[revoked] == ("skipped", "no_consent_for_email")
        assert erased not in found
        assert {found[each] for each in control} == {("held_out", None)}

        # what was sent and who was held out is in the log, for the effect
        assert await logged(running, "email_sent") == {*others, busy}
        assert await logged(running, "campaign_holdout") == set(control)
        mail = inbox.mails[0]
        receiver = str(mail["To"]).partition("@")[0]
        text = mail.get_payload()[0].get_payload(decode=True).decode()  # type: ignore[union-attr,index]
        assert f"https://shop.example/u/{receiver}?utm_source=attune" in text
        assert mail["List-Unsubscribe"].startswith(f"<https://shop.example/u/{receiver}")

        # left alone for its quiet days, and the budget is what is left of it
        tomorrow = morning + timedelta(hours=3)
        later = await planner.run(campaign, tomorrow.date(), send=True, now=tomorrow)
        assert later.summary()["left_out"]["contacted_lately"] == len(written) - 3

        # a channel without a way out is told, and holds nobody else up
        sms = campaign.model_copy(update={"name": "texts", "channel": "sms"})
        await running.runtime.consent.record(busy, [Change("sms", True, "test")])
        assert len((await planner.run(sms, NOON.date(), send=True, now=NOON)).rows) == 1
        with pytest.raises(NothingToSend, match="by sms; set ATTUNE_CAMPAIGN_WEBHOOK"):
            await send(settings, morning)

        # a sender that vanished: nobody is written to twice
        def strand(connection: sa.Connection) -> None:
            connection.execute(
                sa.update(campaign_messages)
                .where(campaign_messages.c.user_id == busy, campaign_messages.c.channel == "email")
                .values(state="sending", due_at=0)
            )

        await running.runtime.database.write(strand)
        mails = len(inbox.mails)
        with pytest.raises(NothingToSend, match="'lost': 1"):
            await send(settings, morning + timedelta(minutes=7))
        assert inbox.receivers[busy] == 1 and len(inbox.mails) == mails

    asyncio.run(_within(scenario))


def test_a_journey_moves_each_customer_once(tmp_path: Path) -> None:
    async def scenario(stack: AsyncExitStack) -> None:
        running = await stack.enter_async_context(served(tmp_path, env={"GDPR_COMPLIANT": "false"}))
        home = running.settings.home
        home.campaigns_file.write_text(DECLARED, encoding="utf-8")
        home.journeys_file.write_text(JOURNEYS, encoding="utf-8")
        [journey] = read_journeys(home)
        planner = planner_of(running.runtime, running.settings)
        mover = Mover(planner, {each.name: each for each in read_campaigns(home.campaigns_file)})

        async def act(user_id: str, event_type: str, at: datetime) -> None:
            event: dict[str, Any] = {"user_id": user_id, "event_type": event_type, "event_at": at.isoformat()}
            event |= (
                {"item_id": "mug", "order_id": "o1", "quantity": 1, "price": 5.0}
                if event_type == "purchase"
                else {}
            )
            [outcome] = await running.runtime.tracker.track([event], NO_SIGNALS, "test")
            assert outcome.status == "accepted", outcome

        start = NOON - timedelta(days=8)
        await act("anna", "signup", start)
        await act("bert", "signup", start)
        dry = await mover.advance(journey.model_copy(update={"send": False}), start)
        assert dry == {"would_enter": 2}
        assert await mover.advance(journey, start) == {"entered": 2, "messages": 2, "steps": 2}
        assert not +await mover.advance(journey, start)
        await act("anna", "purchase", start + timedelta(days=1))
        moved = await mover.advance(journey, start + timedelta(days=3))
        assert moved == {"steps": 4, "ended": 1}

        def where(connection: sa.Connection) -> dict[str, tuple[str, bool]]:
            table = journey_customers.c
            rows = connection.execute(sa.select(table.user_id, table.state, table.ended_at.is_not(None)))
            return {row[0]: (row[1], row[2]) for row in rows}

        found = await running.runtime.database.read(where)
        assert found == {"anna": ("done", True), "bert": ("pause", False)}
        shown = (await running.client.get("/api/v1/campaigns")).json()
        assert [each["messages"] for each in shown["campaigns"]] == [{}, {"queued": 2}]
        assert shown["journeys"][0]["customers"] == {"done": 1, "pause": 1}
        drawn = await running.client.get("/api/v1/journeys/hello/diagram")
        assert "s2: pause - wait 3 days (1)" in drawn.text
        unknown = await running.client.get("/api/v1/journeys/bye/diagram")
        assert (unknown.status_code, "use one of hello" in unknown.json()["detail"]) == (404, True)

    asyncio.run(_within(scenario))


async def _within(scenario: Any) -> None:
    async with AsyncExitStack() as stack:
        await scenario(stack)
