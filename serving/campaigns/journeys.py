"""Journeys: small state machines that take customers from a trigger to messages. Reads `journeys.yaml`:

journeys:
  - name: welcome
    send: true
    trigger: {event: signup, within_days: 2}
    first: hello
    states:
      hello: {act: {send: welcome-mail}, next: pause}
      pause: {wait: {days: 3}, next: bought}
      bought: {branch: [{if: {event: purchase}, next: done}], otherwise: nudge}
      nudge: {act: {send: nudge-mail}, next: done}
      done: {end: true}

A customer enters a journey once. Where they stand is one row; what a state does and the step to the next one
are one transaction, so moving twice is moving once.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Any, Literal, Self

import sqlalchemy as sa
from pydantic import AfterValidator, Field, model_validator

from feature_repo.events import UnknownEventType, canonical_event_type
from feature_repo.layout import Home
from serving.api.schemas.closed import Closed
from serving.campaigns.definitions import JOURNEY, Audience, Campaign, Conditions, Name, read_campaigns
from serving.campaigns.planning import WRITE_SECONDS, Planner, Row, read_customers, stored
from serving.declared import named, read_list
from serving.errors import InvalidDeclarations
from serving.store import campaigns as store

MAX_JOURNEYS = 100
AT_ONCE = 500


def _event(value: str) -> str:
    try:
        return canonical_event_type(value)
    except UnknownEventType as error:
        raise ValueError(str(error)) from error


Event = Annotated[str, AfterValidator(_event)]


class Trigger(Closed):
    """Who enters: whoever has this event in the service's log, lately; or an audience, looked at daily."""

    event: Event | None = None
    within_days: int = Field(default=2, ge=1, le=90)
    audience: Audience | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.event is None) == (self.audience is None):
            raise ValueError("give event or audience, one of them")
        return self


class Wait(Closed):
    """How long."""

    days: float = Field(default=0, ge=0, le=365)
    hours: float = Field(default=0, ge=0, le=8760)

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.span:
            raise ValueError("a wait of nothing is none; give days or hours above 0")
        return self

    @property
    def span(self) -> timedelta:
        """Days and hours together."""
        return timedelta(days=self.days, hours=self.hours)


class If(Conditions):
    """An event since the customer entered, conditions on what is known of them, or both."""

    event: Event | None = None

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.event is None and not self.where:
            raise ValueError("give event, where, or both")
        return self


class Way(Closed):
    """Where to go if something holds."""

    condition: If = Field(alias="if")
    next: Name


class Act(Closed):
    """What to do: send the message of a campaign whose audience is `{list: journey}`."""

    send: Name


class State(Closed):
    """One of: wait, branch, act, end."""

    wait: Wait | None = None
    branch: list[Way] | None = Field(default=None, min_length=1)
    otherwise: Name | None = None
    act: Act | None = None
    end: Literal[True] | None = None
    next: Name | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        kinds = [name for name in ("wait", "branch", "act", "end") if getattr(self, name) is not None]
        if len(kinds) != 1:
            raise ValueError(
                f"a state is one of wait, branch, act, end; this is {' and '.join(kinds) or 'none'}"
            )
        if (self.next is not None) != (kinds[0] in ("wait", "act")):
            raise ValueError("next belongs to wait and act, and each of them needs it")
        if (self.otherwise is not None) != (kinds[0] == "branch"):
            raise ValueError("otherwise belongs to branch, and each branch needs it")
        return self

    def ways(self) -> Iterator[tuple[str, str]]:
        """(what is said of the way, the state it leads to)."""
        if self.next is not None:
            yield "", self.next
        for way in self.branch or ():
            yield _said(way.condition), way.next
        if self.otherwise is not None:
            yield "otherwise", self.otherwise


class Journey(Closed):
    """Trigger, first state, states. Every state is reached, every way leads somewhere, no loop is endless.

    `send`: customers enter and are written to; without it a run only says how many would enter.
    """

    name: Name
    send: bool = False
    trigger: Trigger
    first: Name
    states: dict[Name, State] = Field(min_length=1)

    @model_validator(mode="after")
    def _sound(self) -> Self:
        for place, target in [("first", self.first), *self._edges()]:
            if target not in self.states:
                known = ", ".join(self.states)
                raise ValueError(f"{place} leads to {target!r}, which is no state; use one of {known}")
        if lost := [name for name in self.states if name not in self._reached(self.first)]:
            raise ValueError(f"no way leads to {', '.join(lost)}; lead one there, or take it out")
        for name in self.states:
            if name in self._reached_at_once(name):
                raise ValueError(f"{name} comes back to itself without a wait; put a wait into the loop")
        return self

    def _edges(self) -> Iterator[tuple[str, str]]:
        for name, state in self.states.items():
            yield from ((name, target) for _, target in state.ways())

    def _reached(self, start: str) -> set[str]:
        return _closure([start], lambda name: [target for _, target in self.states[name].ways()])

    def _reached_at_once(self, start: str) -> set[str]:
        """What follows a state without any time in between."""

        def onwards(name: str) -> list[str]:
            state = self.states[name]
            return [] if state.wait is not None else [target for _, target in state.ways()]

        return _closure(onwards(start), onwards)


def _closure(start: Sequence[str], onwards: Any) -> set[str]:
    found: set[str] = set()
    waiting = list(start)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += onwards(name)
    return found


def _said(condition: If) -> str:
    parts = [condition.event] if condition.event else []
    for column, wanted in condition.where.items():
        if isinstance(wanted, list):
            parts.append(f"{column} in {' or '.join(wanted)}")
        else:
            least = "" if wanted.least is None else f" from {wanted.least:g}"
            parts.append(f"{column}{least}" + ("" if wanted.below is None else f" below {wanted.below:g}"))
    return " and ".join(parts)


def read_journeys(home: Home) -> list[Journey]:
    """The journeys of a home; raises `InvalidDeclarations`, also for a campaign that is not there."""
    journeys = read_list(home.journeys_file, "journeys", Journey, MAX_JOURNEYS)
    campaigns = {each.name: each for each in read_campaigns(home.campaigns_file)}
    for journey in journeys:
        for name, state in journey.states.items():
            campaign = campaigns.get(state.act.send) if state.act else None
            if state.act and (campaign is None or campaign.audience.list != JOURNEY):
                problem = (
                    f"{journey.name}.{name}: send={state.act.send!r} cannot be used: name a campaign of"
                    f" {home.campaigns_file.name} with audience: {{list: journey}}"
                )
                raise InvalidDeclarations(home.journeys_file.name, None, problem)
    return journeys


def named_journey(home: Home, name: str | None) -> Journey:
    """The journey of this name; raises `NotDeclared` with those that there are."""
    return named(read_journeys(home), "journey", name, home.journeys_file)


def diagram(journey: Journey, counts: Mapping[str, int] | None = None) -> str:
    """A Mermaid state diagram; with counts, how many customers are in each state."""
    lines = ["stateDiagram-v2"]
    keys = {name: f"s{number}" for number, name in enumerate(journey.states, 1)}  # `end` is Mermaid's own
    for name, state in journey.states.items():
        count = f" ({counts.get(name, 0)})" if counts is not None else ""
        lines.append(f"    {keys[name]}: {name}{_does(state)}{count}")
    trigger = journey.trigger
    entry = trigger.event or f"list {trigger.audience.list if trigger.audience else ''}"
    lines.append(f"    [*] --> {keys[journey.first]}: {entry}")
    for name, state in journey.states.items():
        for said, target in state.ways():
            lines.append(f"    {keys[name]} --> {keys[target]}" + (f": {said}" if said else ""))
        if state.end:
            lines.append(f"    {keys[name]} --> [*]")
    return "\n".join(lines)


def _does(state: State) -> str:
    if state.wait is not None:
        hours = state.wait.span.total_seconds() / 3600
        return f" - wait {hours / 24:g} days" if hours % 24 == 0 else f" - wait {hours:g} hours"
    return f" - send {state.act.send}" if state.act else ""


@dataclass(frozen=True)
class Mover:
    """Moves the customers of journeys."""

    planner: Planner
    campaigns: Mapping[str, Campaign]

    async def advance(self, journey: Journey, now: datetime | None = None) -> Counter[str]:
        """Let customers enter, and move everybody who may move until they wait or are done; counts."""
        at = now or datetime.now(UTC)
        done: Counter[str] = Counter()
        fresh = await self._fresh(journey, at)
        if not journey.send:
            done["would_enter"] = len(fresh)
            return done

        def enter(connection: sa.Connection) -> int:
            return sum(store.enter(connection, row) for row in fresh)

        done["entered"] = await self.planner.database.write(enter, WRITE_SECONDS)
        known: dict[str, Row] | None = None
        needs_customers = any(
            way.condition.where for each in journey.states.values() for way in each.branch or ()
        )
        due = partial(store.due_customers, journey=journey.name, now=_micros(at), limit=AT_ONCE)
        while batch := await self.planner.database.read(due):
            if known is None:
                rows = read_customers(self.planner.home) if needs_customers else []
                known = {row["user_id"]: row for row in rows}
            for customer in batch:
                done += await self._move(journey, customer, known, at)
        return done

    async def _fresh(self, journey: Journey, now: datetime) -> list[Row]:
        """Whom the trigger brings; who is in the journey already is left where they are."""
        trigger, database = journey.trigger, self.planner.database
        if trigger.event is not None:
            since = _micros(now - timedelta(days=trigger.within_days))
            acted = partial(store.acted_since, event_type=trigger.event, since=since)
            found = await database.read(acted)
        else:
            assert trigger.audience is not None
            rows = [row for row in read_customers(self.planner.home) if trigger.audience.holds(row)]
            found = [(row["user_id"], _micros(now)) for row in rows]
        state = journey.first
        return [
            {
                "journey": journey.name,
                "user_id": user_id,
                "state": state,
                "entered_at": at,
                "since": _micros(now),
                "due_at": self._due(journey, state, now),
            }
            for user_id, at in found
            if not self.planner.is_erased(user_id)
        ]

    async def _move(
        self, journey: Journey, customer: Row, known: Mapping[str, Row], now: datetime
    ) -> Counter[str]:
        """Steps of one customer until they wait, or are done."""
        done: Counter[str] = Counter()
        while True:
            state = journey.states.get(customer["state"])
            if state is None or state.end:  # a state that the file has no more ends the journey
                changes: Row = {"ended_at": _micros(now)}
                done["ended"] += 1
            else:
                target = await self._target(state, customer, known)
                due = self._due(journey, target, now)
                changes = {"state": target, "since": _micros(now), "due_at": due}
            row = await self._message(journey, state, customer, now) if state and state.act else None
            if row is not None:
                done["messages" if isinstance(row, dict) else row] += 1

            def step(
                connection: sa.Connection, before: Row = customer, after: Row = changes, row: Any = row
            ) -> bool:
                moved = store.move(connection, before, **after)
                if moved and isinstance(row, dict):
                    store.add_messages(connection, [stored(row)])
                return moved

            if not await self.planner.database.write(step) or "ended_at" in changes:
                return done
            done["steps"] += 1
            customer = {**customer, **changes}
            if changes["due_at"] > _micros(now):
                return done

    async def _target(self, state: State, customer: Row, known: Mapping[str, Row]) -> str:
        for way in state.branch or ():
            if await self._holds(way.condition, customer, known):
                return way.next
        found = state.otherwise or state.next
        assert found is not None, "validated"
        return found

    async def _holds(self, condition: If, customer: Row, known: Mapping[str, Row]) -> bool:
        if condition.where and not condition.holds(known.get(customer["user_id"], {})):
            return False
        if condition.event is None:
            return True
        did = partial(
            store.did,
            user_id=customer["user_id"],
            event_type=condition.event,
            since=customer["entered_at"] + 1,  # what brought them here is no answer to it
        )
        return await self.planner.database.read(did)

    async def _message(self, journey: Journey, state: State, customer: Row, now: datetime) -> Row | str:
        assert state.act is not None
        campaign = self.campaigns[state.act.send]
        day = now.date()
        if not campaign.is_running(day):
            return "campaign_over"
        return await self.planner.message(campaign, customer["user_id"], day, True, now, journey=journey.name)

    @staticmethod
    def _due(journey: Journey, name: str, now: datetime) -> int:
        """When to look at a customer who comes to this state."""
        wait = journey.states[name].wait
        return _micros(now + wait.span if wait is not None else now)


def _micros(at: datetime) -> int:
    return round(at.timestamp() * 1e6)
