"""Messages of campaigns on their way (the outbox), and where each customer of a journey stands."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from feature_repo.event_log import events, metadata

DRAFT, QUEUED, SENDING = "draft", "queued", "sending"
SENT, HELD_OUT, SKIPPED, FAILED = "sent", "held_out", "skipped", "failed"
CONTACTED = (QUEUED, SENDING, SENT, HELD_OUT)
"""States of a message that reaches its customer, or would if the customer were not in the control share."""
TREATED, CONTROL = "treated", "control"

campaign_messages = sa.Table(
    "campaign_messages",
    metadata,
    sa.Column("message_id", sa.Text, primary_key=True),
    sa.Column("campaign", sa.Text, nullable=False),
    sa.Column("user_id", sa.Text, nullable=False),
    sa.Column("run_date", sa.Text, nullable=False),
    sa.Column("journey", sa.Text),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("arm", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("planned_at", sa.BigInteger, nullable=False),
    sa.Column("due_at", sa.BigInteger, nullable=False),
    sa.Column("done_at", sa.BigInteger),
    sa.Column("timezone", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("cost", sa.Float, nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.UniqueConstraint("campaign", "user_id", "run_date", name="campaign_messages_once_a_day"),
    sa.Index("campaign_messages_due", "state", "due_at"),
    sa.Index("campaign_messages_of_user", "user_id", "done_at"),
)
"""One row per campaign, customer and day of planning, of either arm. `content` is the composed message as
JSON; the address is looked up when it is sent. `state`: draft (never sent unless it is released), queued,
sending, then sent, held_out, skipped or failed, with the `reason`. Instants: microseconds since 1970 UTC."""

journey_customers = sa.Table(
    "journey_customers",
    metadata,
    sa.Column("journey", sa.Text, primary_key=True),
    sa.Column("user_id", sa.Text, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("entered_at", sa.BigInteger, nullable=False),
    sa.Column("since", sa.BigInteger, nullable=False),
    sa.Column("due_at", sa.BigInteger, nullable=False),
    sa.Column("ended_at", sa.BigInteger),
    sa.Index("journey_customers_due", "journey", "ended_at", "due_at"),
    sa.Index("journey_customers_of_user", "user_id"),
)
"""One row per journey and customer who entered it: their state, since when, and when to look again."""

Row = Mapping[str, Any]


def add_messages(connection: sa.Connection, rows: Sequence[Row]) -> int:
    """Insert what is not there; how many rows that were. A campaign's customer gets one row a day."""
    added = 0
    for row in rows:
        added += connection.execute(_insert(connection, campaign_messages, row)).rowcount
    return added


def release_drafts(connection: sa.Connection, campaign: str, run_date: str) -> int:
    """Queue the drafts of one campaign and day."""
    table = campaign_messages.c
    return int(
        connection.execute(
            sa.update(campaign_messages)
            .where(table.campaign == campaign, table.run_date == run_date, table.state == DRAFT)
            .values(state=QUEUED)
        ).rowcount
    )


def drop_drafts(connection: sa.Connection, campaign: str, run_date: str) -> bool:
    """Delete what one run planned, if all of it is a draft still."""
    table = campaign_messages.c
    of_the_run = (table.campaign == campaign) & (table.run_date == run_date) & table.journey.is_(None)
    others = sa.select(table.message_id).where(of_the_run, table.state != DRAFT).limit(1)
    if connection.execute(others).first() is not None:
        return False
    connection.execute(sa.delete(campaign_messages).where(of_the_run))
    return True


def due_messages(
    connection: sa.Connection, now: int, channels: Sequence[str], limit: int
) -> list[dict[str, Any]]:
    """Queued messages of these channels whose time has come, the earliest first."""
    table = campaign_messages.c
    is_due = (table.state == QUEUED) & (table.due_at <= now) & table.channel.in_(channels)
    query = sa.select(campaign_messages).where(is_due).order_by(table.due_at, table.message_id)
    return _rows(connection, query.limit(limit))


def waiting(connection: sa.Connection, now: int, channels: Sequence[str]) -> dict[str, int]:
    """Other channels than these -> messages that are due."""
    table = campaign_messages.c
    is_due = (table.state == QUEUED) & (table.due_at <= now) & table.channel.not_in(channels)
    query = sa.select(table.channel, sa.func.count()).where(is_due).group_by(table.channel)
    return {row[0]: int(row[1]) for row in connection.execute(query)}


def claim(connection: sa.Connection, message_id: str, until: int) -> bool:
    """Take a queued message for sending; False if somebody else has it. `until`: when it counts as lost."""
    table = campaign_messages.c
    changed = connection.execute(
        sa.update(campaign_messages)
        .where(table.message_id == message_id, table.state == QUEUED)
        .values(state=SENDING, attempts=table.attempts + 1, due_at=until)
    )
    return changed.rowcount == 1


def settle(connection: sa.Connection, message_id: str, **values: Any) -> None:
    """Write what became of a message."""
    connection.execute(
        sa.update(campaign_messages).where(campaign_messages.c.message_id == message_id).values(**values)
    )


def give_up_lost(connection: sa.Connection, now: int, reason: str) -> int:
    """Messages whose sender vanished: whether they arrived is not known, and nobody is written to twice."""
    table = campaign_messages.c
    return int(
        connection.execute(
            sa.update(campaign_messages)
            .where(table.state == SENDING, table.due_at <= now)
            .values(state=FAILED, reason=reason, done_at=now)
        ).rowcount
    )


def last_contacts(connection: sa.Connection, campaign: str) -> dict[str, int]:
    """Customer -> when this campaign last reached them, or would have: both arms are left alone as long."""
    table = campaign_messages.c
    query = (
        sa.select(table.user_id, sa.func.max(table.planned_at))
        .where(table.campaign == campaign, table.state.in_(CONTACTED))
        .group_by(table.user_id)
    )
    return {row[0]: int(row[1]) for row in connection.execute(query)}


def spent(connection: sa.Connection, campaign: str) -> float:
    """What the messages of a campaign cost that were sent or wait for it."""
    table = campaign_messages.c
    query = sa.select(sa.func.sum(table.cost)).where(
        table.campaign == campaign, table.arm == TREATED, table.state.in_(CONTACTED)
    )
    return float(connection.execute(query).scalar() or 0.0)


def messages_since(connection: sa.Connection, user_id: str, channel: str, event_type: str, since: int) -> int:
    """Messages that reached a customer on a channel: those of campaigns, and those that others reported."""
    table = campaign_messages.c
    own = sa.select(sa.func.count()).where(
        table.user_id == user_id, table.channel == channel, table.state == SENT, table.done_at >= since
    )
    others = sa.select(sa.func.count()).where(
        events.c.user_id == user_id,
        events.c.event_type == event_type,
        events.c.event_at >= since,
        events.c.event_id.not_like(f"{EVENT_PREFIX}%"),
    )
    return int(connection.execute(own).scalar() or 0) + int(connection.execute(others).scalar() or 0)


EVENT_PREFIX = "campaign-"
"""Events that the sender reports have the id of their message behind this."""


def counts(connection: sa.Connection) -> dict[str, dict[str, int]]:
    """Campaign -> state -> messages."""
    table = campaign_messages.c
    query = sa.select(table.campaign, table.state, sa.func.count()).group_by(table.campaign, table.state)
    found: dict[str, dict[str, int]] = {}
    for campaign, state, count in connection.execute(query.order_by(table.campaign, table.state)):
        found.setdefault(campaign, {})[state] = count
    return found


# journeys


def enter(connection: sa.Connection, row: Row) -> bool:
    """Put a customer at the start of a journey; False for one who is in it, or was."""
    return connection.execute(_insert(connection, journey_customers, row)).rowcount == 1


def due_customers(connection: sa.Connection, journey: str, now: int, limit: int) -> list[dict[str, Any]]:
    """Customers of a journey who may move on."""
    table = journey_customers.c
    query = sa.select(journey_customers).where(
        table.journey == journey, table.ended_at.is_(None), table.due_at <= now
    )
    return _rows(connection, query.order_by(table.due_at, table.user_id).limit(limit))


def move(connection: sa.Connection, before: Row, **values: Any) -> bool:
    """Change where a customer stands, if nobody else has moved them meanwhile."""
    table = journey_customers.c
    changed = connection.execute(
        sa.update(journey_customers)
        .where(
            table.journey == before["journey"],
            table.user_id == before["user_id"],
            table.state == before["state"],
            table.since == before["since"],
            table.ended_at.is_(None),
        )
        .values(**values)
    )
    return changed.rowcount == 1


def journey_counts(connection: sa.Connection) -> dict[str, dict[str, int]]:
    """Journey -> state -> customers who are in it, or ended there."""
    table = journey_customers.c
    query = sa.select(table.journey, table.state, sa.func.count()).group_by(table.journey, table.state)
    found: dict[str, dict[str, int]] = {}
    for journey, state, count in connection.execute(query.order_by(table.journey, table.state)):
        found.setdefault(journey, {})[state] = count
    return found


def acted_since(connection: sa.Connection, event_type: str, since: int) -> list[tuple[str, int]]:
    """Customers with an event of this type since an instant, and when the first of these was."""
    query = (
        sa.select(events.c.user_id, sa.func.min(events.c.event_at))
        .where(events.c.event_type == event_type, events.c.event_at >= since, events.c.user_id.is_not(None))
        .group_by(events.c.user_id)
    )
    return [(row[0], int(row[1])) for row in connection.execute(query)]


def did(connection: sa.Connection, user_id: str, event_type: str, since: int) -> bool:
    """Whether a customer has an event of this type since an instant."""
    query = sa.select(events.c.sequence).where(
        events.c.user_id == user_id, events.c.event_type == event_type, events.c.event_at >= since
    )
    return connection.execute(query.limit(1)).first() is not None


def address_of(connection: sa.Connection, user_ids: Iterable[str]) -> dict[str, str]:
    """Customer -> e-mail address, for those of them who have one."""
    from serving.store.customers import customers

    wanted, found = list(user_ids), dict[str, str]()
    for start in range(0, len(wanted), IDS_AT_ONCE):
        some = wanted[start : start + IDS_AT_ONCE]
        query = sa.select(customers.c.user_id, customers.c.email).where(
            customers.c.user_id.in_(some), customers.c.email.is_not(None)
        )
        found.update((row[0], row[1]) for row in connection.execute(query))
    return found


IDS_AT_ONCE = 500


def _insert(connection: sa.Connection, table: sa.Table, row: Row) -> Any:
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement: Any = dialect.insert(table).values(dict(row))
    return statement.on_conflict_do_nothing()


def _rows(connection: sa.Connection, query: Any) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row._mapping.items()} for row in connection.execute(query)]
