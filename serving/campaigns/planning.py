"""Planning a campaign: who gets it, who is held out, what it says, when it goes; a row per customer and day.

Customers are taken from the best on: once a campaign has taught whom its messages move (`campaigns/uplift`),
by what a message earns with them, and nobody with whom it earns less than it costs. Whether one may be
written to at all is asked for both arms alike, so that the arms differ by the message alone; the arm is a
salted hash of the campaign and the customer, so a campaign that runs every day holds out the same customers.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.layout import Home
from serving.campaigns.definitions import Campaign
from serving.decisions.assignment import is_held_out, point
from serving.errors import NothingToSend
from serving.people.permissions import NO_SIGNALS, Signals
from serving.store import campaigns as store
from serving.store.campaigns import CONTROL, DRAFT, QUEUED, TREATED
from serving.store.database import Database

DAY_MICROS = 86_400_000_000
FRESH_DAYS = 14
WRITE_SECONDS, ROWS_A_WRITE = 60.0, 2_000
DECLARATION = b"declaration"
FILE_SCHEMA = pa.schema(
    [
        ("message_id", pa.string()),
        ("campaign", pa.string()),
        ("user_id", pa.string()),
        ("run_date", pa.string()),
        ("journey", pa.string()),
        ("channel", pa.string()),
        ("arm", pa.string()),
        ("due_at", pa.timestamp("us", "UTC")),
        ("timezone", pa.string()),
        ("cost", pa.float64()),
        ("subject", pa.string()),
        ("content", pa.string()),
        ("control_share", pa.float64()),
    ]
)

Row = dict[str, Any]


class Composer(Protocol):
    """What planning needs of `serving.pages.messages.Messages`."""

    async def email(
        self,
        user_id: str,
        signals: Signals,
        rules: Mapping[str, bool],
        grid: int,
        articles: int,
        channel: str = "email",
        lead: str | None = None,
    ) -> dict[str, Any]: ...

    async def send_time(
        self,
        user_id: str,
        signals: Signals,
        channel: str,
        zone: str | None,
        now: datetime | None = None,
        at: Any = "best",
    ) -> dict[str, Any]: ...


@dataclass
class Plan:
    """What a run planned, and how many customers it left out for which reason."""

    campaign: str
    day: date
    rows: list[Row] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    is_new: bool = True
    released: int = 0

    def summary(self) -> dict[str, Any]:
        """Counts for people and for Dagster."""
        arms = Counter(row["arm"] for row in self.rows)
        return {
            "campaign": self.campaign,
            "day": self.day.isoformat(),
            "new": self.is_new,
            "treated": arms[TREATED],
            "control": arms[CONTROL],
            "cost": round(sum(row["cost"] for row in self.rows), 2),
            "released": self.released,
            "left_out": dict(sorted(self.left_out.items())),
        }


@dataclass(frozen=True)
class Planner:
    """Plans campaigns of one home. `needs_address`: e-mail goes to addresses that we must know."""

    database: Database
    composer: Composer
    home: Home
    is_erased: Callable[[str], bool]
    holdout_share: float = 0.0
    needs_address: bool = False

    async def run(self, campaign: Campaign, day: date, send: bool, now: datetime | None = None) -> Plan:
        """Plan a day of a campaign once; again, nothing new is written. `send` queues what else is a draft.

        A day of which everything is a draft is planned anew once the declaration was changed. Raises
        `NothingToSend` outside of the campaign's days, or without the customers of a run.
        """
        if not campaign.is_running(day):
            remedy = f"it runs from {campaign.start} to {campaign.end or 'further notice'}"
            raise NothingToSend(f"campaign={campaign.name!r} does not run on {day}: {remedy}")
        now = now or datetime.now(UTC)
        if send and not self.is_fresh(now):
            raise NothingToSend(
                f"campaign={campaign.name!r} cannot be queued: what is known of customers is older than"
                f" {FRESH_DAYS} days; run `attune run` on newer data, or leave --send out for drafts"
            )
        name, key = campaign.name, day.isoformat()
        path = self.home.campaign_run(name, key)
        plan = Plan(name, day)
        kept = read_plan(path)
        if kept is not None and kept[1] != declaration_of(campaign):
            drop = partial(store.drop_drafts, campaign=name, run_date=key)
            kept = None if await self.database.write(drop, WRITE_SECONDS) else kept
        if kept is not None:
            plan.is_new, plan.rows = False, kept[0]
        else:
            await self._choose(campaign, plan, send, now)
            for start in range(0, len(plan.rows), ROWS_A_WRITE):
                rows = [stored(row) for row in plan.rows[start : start + ROWS_A_WRITE]]
                await self.database.write(partial(store.add_messages, rows=rows), WRITE_SECONDS)
            write_plan(path, plan.rows, campaign)
        if send:
            release = partial(store.release_drafts, campaign=name, run_date=key)
            plan.released = await self.database.write(release)
        return plan

    def is_fresh(self, now: datetime) -> bool:
        """Whether the customers' data is recent: nobody is written to because of what held years ago."""
        known_at = max((row["as_of"] for row in read_customers(self.home, ["as_of"])), default=now)
        return bool(now - known_at <= timedelta(days=FRESH_DAYS))

    async def _choose(self, campaign: Campaign, plan: Plan, send: bool, now: datetime) -> None:
        profits = read_profits(self.home, campaign)
        customers = ranked(campaign, read_customers(self.home), profits)
        contacts = await self.database.read(
            partial(store.last_contacts, campaign=campaign.name), WRITE_SECONDS
        )
        spent = await self.database.read(partial(store.spent, campaign=campaign.name))
        addresses = await self._addresses(campaign, (each["user_id"] for each in customers))
        rested = int(now.timestamp() * 1e6) - campaign.caps.quiet_days * DAY_MICROS
        treated = 0
        for customer in customers:
            user_id = customer["user_id"]
            if profits.get(user_id, 1.0) <= 0.0:
                plan.left_out["does_not_pay"] += 1
            elif campaign.caps.per_run is not None and treated >= campaign.caps.per_run:
                plan.left_out["cap_of_the_run"] += 1
            elif campaign.budget is not None and spent + campaign.cost_per_message > campaign.budget + 1e-9:
                plan.left_out["budget_spent"] += 1
            elif contacts.get(user_id, rested) > rested:
                plan.left_out["contacted_lately"] += 1
            elif addresses is not None and user_id not in addresses:
                plan.left_out["no_address"] += 1
            else:
                row = await self.message(
                    campaign, user_id, plan.day, send, now, lead=customer["replenish_item_id"]
                )
                if isinstance(row, str):
                    plan.left_out[row] += 1
                    continue
                plan.rows.append(row)
                treated += row["arm"] == TREATED
                spent += row["cost"]

    async def message(
        self,
        campaign: Campaign,
        user_id: str,
        day: date,
        send: bool,
        now: datetime,
        lead: str | None = None,
        journey: str | None = None,
    ) -> Row | str:
        """The row of one customer, or why there is none."""
        if self.is_erased(user_id):
            return "erased"
        if is_held_out(user_id, self.holdout_share):
            return "permanent_holdout"
        when = await self.composer.send_time(
            user_id, NO_SIGNALS, campaign.channel, None, now, campaign.send_time
        )
        if not when["send"]:
            return str(when["reason"])
        arm = arm_of(campaign, user_id)
        content: dict[str, Any] = {}
        if arm == TREATED:
            rules = campaign.content
            subject_rules = {
                "use_customer_name": rules.use_customer_name,
                "include_personalized_offer": rules.include_personalized_offer,
            }
            lead = lead if campaign.audience.list == "replenishment" else None
            composed = await self.composer.email(
                user_id, NO_SIGNALS, subject_rules, rules.grid_items, rules.articles, campaign.channel, lead
            )
            if not composed["send"]:
                return str(composed["reason"])
            content = {
                "subject": composed["subject"],
                "blocks": composed["blocks"],
                "segment": composed["segment"],
                "decision_id": composed["decision_id"],
                "recommendation_id": composed["recommendation_id"],
                "product_link": rules.product_link,
                "unsubscribe_link": rules.unsubscribe_link,
            }
        return {
            "message_id": message_id(campaign.name, user_id, day),
            "campaign": campaign.name,
            "user_id": user_id,
            "run_date": day.isoformat(),
            "journey": journey,
            "channel": campaign.channel,
            "arm": arm,
            "state": QUEUED if send else DRAFT,
            "planned_at": int(now.timestamp() * 1e6),
            "due_at": int(datetime.fromisoformat(when["send_at"]).timestamp() * 1e6),
            "timezone": when["timezone"],
            "cost": campaign.cost_per_message if arm == TREATED else 0.0,
            "content": content,
        }

    async def _addresses(self, campaign: Campaign, user_ids: Iterable[str]) -> dict[str, str] | None:
        if campaign.channel != "email" or not self.needs_address:
            return None
        return await self.database.read(partial(store.address_of, user_ids=list(user_ids)), WRITE_SECONDS)


def read_customers(home: Home, columns: Sequence[str] | None = None) -> list[Row]:
    """Whom campaigns may choose from; raises `NothingToSend` if no run has written them."""
    try:
        table = pq.read_table(home.campaign_customers, columns=columns, partitioning=None)
        rows: list[Row] = table.to_pylist()
    except FileNotFoundError:
        remedy = "run `attune run --source NAME --path DIR` first"
        raise NothingToSend(f"{home.campaign_customers} is not there: {remedy}") from None
    return rows


def read_profits(home: Home, campaign: Campaign) -> dict[str, float]:
    """What a message is expected to earn with each customer, its cost paid; empty where nothing is known."""
    try:
        table = pq.read_table(
            home.campaign_uplift, filters=[("campaign_id", "=", campaign.name)], partitioning=None
        )
    except FileNotFoundError:
        return {}
    margins = zip(table["user_id"].to_pylist(), table["incremental_margin"].to_pylist(), strict=True)
    return {user_id: margin - campaign.cost_per_message for user_id, margin in margins}


def ranked(campaign: Campaign, customers: Sequence[Row], profits: Mapping[str, float]) -> list[Row]:
    """The audience, the best first: by profit where that is known of anybody.

    Else whom it pays most to keep, who spends most, what is due nearest; also among those of whom it is not.
    """
    found = [each for each in customers if campaign.audience.holds(each)]
    if profits:
        unknown = float("-inf")
        return sorted(_ranked(campaign, found), key=lambda each: -profits.get(each["user_id"], unknown))
    return _ranked(campaign, found)


def _ranked(campaign: Campaign, found: Sequence[Row]) -> list[Row]:
    if campaign.audience.list == "replenishment":
        return sorted(found, key=lambda each: (abs(each["replenish_in_days"]), each["user_id"]))
    by = "clv_90d" if campaign.audience.list in ("loyal", "everybody") else "expected_saving"
    return sorted(found, key=lambda each: (-_number(each[by]), each["user_id"]))


def _number(value: float | None) -> float:
    return float("-inf") if value is None or value != value else value


def arm_of(campaign: Campaign, user_id: str) -> str:
    """Which arm: the same for ever for one campaign and customer."""
    return CONTROL if point(f"campaign:{campaign.name}", user_id) < campaign.control_share else TREATED


def message_id(campaign: str, user_id: str, day: date) -> str:
    """The same for one campaign, customer and day, so that planning twice makes one message."""
    return hashlib.sha256(f"{campaign}\n{user_id}\n{day}".encode()).hexdigest()[:32]


def stored(row: Row) -> Row:
    """As a row of the outbox."""
    return {**row, "content": orjson.dumps(row["content"]).decode(), "attempts": 0}


def declaration_of(campaign: Campaign) -> str:
    """Differs where the campaign does; whether it may send makes no other plan."""
    return hashlib.sha256(campaign.model_dump_json(exclude={"send"}).encode()).hexdigest()


def read_plan(path: Path) -> tuple[list[Row], str] | None:
    """The rows of a plan and the declaration that made it; None if there is none."""
    try:
        table = pq.read_table(path, partitioning=None)
    except FileNotFoundError:
        return None
    return table.to_pylist(), (table.schema.metadata or {}).get(DECLARATION, b"").decode()


def write_plan(path: Path, rows: Sequence[Row], campaign: Campaign) -> None:
    """The plan as a file that is there whole or not at all."""
    columns = [
        {
            **row,
            "due_at": datetime.fromtimestamp(row["due_at"] / 1e6, UTC),
            "subject": row["content"]["subject"]["text"] if row["content"] else None,
            "content": orjson.dumps(row["content"]).decode(),
            "control_share": campaign.control_share,
        }
        for row in rows
    ]
    table = pa.Table.from_pylist(columns, FILE_SCHEMA)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{time.monotonic_ns()}")
    pq.write_table(table.replace_schema_metadata({DECLARATION: declaration_of(campaign)}), unfinished)
    unfinished.replace(path)
