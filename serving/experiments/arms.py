"""Experiments: definitions in memory, who is in which arm, and what applications report.

Definitions come from the API and from `experiments.yaml` in the home; both lie in the operational store,
which every worker follows, so that all assign alike (`experiment_book`). Assignment is pure and in memory
(`decisions.assignment`): no answer waits for a database. First exposures are logged aside (`exposures`).
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow.compute as pc
import pyarrow.parquet as pq
import sqlalchemy as sa
from pydantic import ValidationError

from feature_repo.layout import Home
from serving.api.schemas.experiments import Definition, DefinitionChange, ExperimentEvent
from serving.decisions.assignment import (
    BANDIT,
    BUCKETS,
    CONTROL,
    EXPERIMENT,
    HELD_OUT,
    HOLDOUT_ID,
    INCLUDED,
    NOTHING,
    Experiment,
    Parameters,
    Variant,
    is_held_out,
    variant_of,
    why_not,
)
from serving.errors import (
    EventIdTaken,
    ExperimentConflict,
    InvalidExperiments,
    InvalidField,
    ServingError,
    StoreUnavailable,
    UnknownExperiment,
)
from serving.experiments.book import (
    Held,
    dealt_by,
    first_problem,
    instant_text,
    micros,
    put,
    put_change,
    put_file,
    put_new,
    read_all,
)
from serving.experiments.exposures import EventLog, Exposures, Outcome
from serving.experiments.file import read_experiments
from serving.experiments.results import Results
from serving.flags import Flags
from serving.metrics import Metrics
from serving.people.permissions import NO_SIGNALS, Permissions, Signals
from serving.settings import Settings
from serving.store import experiments as store
from serving.store.database import Database

logger = logging.getLogger(__name__)

FOLLOW_SECONDS = 1.0
CONVERSION = "experiment_conversion"
UNPERSONALIZED = {"recommendations.algorithm": "popular"}
PermissionsOf = Callable[[str | None, Signals], Permissions]
DEFAULT_ID = "default"
DEFAULT = Experiment(
    experiment_id=DEFAULT_ID,
    version=1,
    layer=f"{DEFAULT_ID}-a-a",
    salt=DEFAULT_ID,
    ranges=((0, BUCKETS),),
    variants=(Variant(CONTROL, 1.0), Variant("variant_a", 1.0)),
)
"""An A/A test that is always there: two equal arms that change nothing. What differs between them is chance,
and more than chance is a fault of the measurement."""


class Experiments:
    """The experiments of one process, on its event loop."""

    def __init__(
        self,
        database: Database,
        tracker: EventLog,
        flags: Flags,
        settings: Settings,
        metrics: Metrics,
        release_id: Callable[[], str] = str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._tracker = tracker
        self._home = settings.home
        self._sample_size = settings.ab_test_sample_size
        self._holdout_share = settings.holdout_share
        self._disabled_by = flags.disabled_by("ab_testing")
        self._release_id = release_id
        self._now = now
        self._held: dict[str, Held] = {}
        self._stored: dict[str, Held] = {}
        self._shares: dict[str, dict[str, float]] = {}
        self._results = Results(settings.home)
        self._open: tuple[Experiment, ...] = ()
        self._scopes: dict[str, frozenset[str]] = {}
        self._audiences: dict[str, frozenset[str]] = {}
        self._audience_release: str | None = None
        self._last_change = -1
        self._file_state: tuple[int, int] | None = None
        self.file_problem: str | None = None
        self._exposures = Exposures(database, tracker, metrics)
        self._follower: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Load the definitions and follow them. If the store is away they come when it is back."""
        with contextlib.suppress(StoreUnavailable):
            await self.follow()
        self._follower = asyncio.create_task(self._follow_on(), name="experiments-follow")
        self._exposures.start()

    async def close(self) -> None:
        """Stop following, and write the exposures that wait."""
        if self._follower is not None:
            self._follower.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._follower
        await self._exposures.close()

    # what decisions ask

    def parameters(
        self,
        visitor_id: str | None,
        permissions: Permissions,
        attributes: Mapping[str, Any] | None = None,
        scope: str | None = None,
    ) -> Parameters:
        """What this visitor's arms set; `scope`, such as `recommendations`, leaves out what it does not read.

        The permanent holdout is recommended what is popular: it shows what personalization earns.
        Who may not be tracked or personalized for is in no experiment, and so is who is not known by an id.
        """
        if (
            visitor_id is None
            or self._disabled_by
            or not (permissions.tracking and permissions.personalization)
        ):
            return NOTHING
        if not self._open and not self._holdout_share:
            return NOTHING
        now = self._now()
        values: dict[str, Any] = {}
        arms: dict[str, str] = {}
        concerns_some = scope in (None, "recommendations")
        for experiment in self._open:
            if scope is not None and scope not in self._scopes[experiment.experiment_id]:
                continue
            if not experiment.is_running(now):
                continue
            concerns_some = True
            if self._why_not(experiment, visitor_id, attributes or {}) is None:
                variant = variant_of(experiment, visitor_id)
                values.update(variant.parameters)
                arms[experiment.experiment_id] = variant.name
        if concerns_some and self._holdout_share > 0:
            is_out = is_held_out(visitor_id, self._holdout_share)
            arms[HOLDOUT_ID] = HELD_OUT if is_out else INCLUDED
            if is_out:
                values.update(UNPERSONALIZED)
        return Parameters(values, arms) if arms else NOTHING

    def holding_back(self, permissions_of: PermissionsOf) -> PermissionsOf:
        """The same permissions, but nothing personal for the permanent holdout; who asks, meets it.

        For pages, messages, offers, search and prices; recommendations meet it in `parameters`.
        """

        def permissions(visitor_id: str | None, signals: Signals) -> Permissions:
            allowed = permissions_of(visitor_id, signals)
            is_open = allowed.tracking and allowed.personalization and not self._disabled_by
            if visitor_id is None or not is_open or not self._holdout_share:
                return allowed
            is_out = is_held_out(visitor_id, self._holdout_share)
            self.expose(visitor_id, {HOLDOUT_ID: HELD_OUT if is_out else INCLUDED})
            return replace(allowed, personalization=False, reason=EXPERIMENT) if is_out else allowed

        return permissions

    def variant(
        self,
        visitor_id: str,
        experiment_id: str | None,
        permissions: Permissions,
        attributes: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The variant for an application that asks; whoever is assigned is exposed.

        Without an id: the oldest running experiment that the visitor takes part in, else the built-in one.
        """
        held = None if experiment_id in (None, DEFAULT_ID) else self._get(str(experiment_id))
        experiment = held.experiment if held else DEFAULT
        reason = self._why_nothing(permissions)
        if reason is None and experiment_id is None:
            experiment = self._first_for(visitor_id, attributes or {})
        if reason is None and held is not None and (status := held.status(self._now())) != "running":
            reason = status
        if reason is None:
            reason = self._why_not(experiment, visitor_id, attributes or {})
        variant = experiment.variants[0] if reason else variant_of(experiment, visitor_id)
        if reason is None:
            self.expose(visitor_id, {experiment.experiment_id: variant.name})
        return {
            "user_id": visitor_id,
            "variant": variant.name,
            "experiment_id": experiment.experiment_id,
            "version": experiment.version,
            "parameters": {} if reason else dict(variant.parameters),
            "is_assigned": reason is None,
            "reason": reason,
        }

    def expose(self, visitor_id: str, arms: Mapping[str, str]) -> None:
        """Have first meetings of this visitor with these arms logged; nobody waits for it."""
        self._exposures.add(visitor_id, arms, self._propensity)

    def _propensity(self, experiment_id: str, variant: str) -> float | None:
        if experiment_id == HOLDOUT_ID:
            return self._holdout_share if variant == HELD_OUT else 1 - self._holdout_share
        held = self._held.get(experiment_id)
        experiment = held.experiment if held else DEFAULT
        return experiment.share_of(variant)

    def forget(self, is_erased: Callable[[str], bool]) -> None:
        """Drop what is remembered of erased visitors."""
        self._exposures.forget(is_erased)

    # what an application reports

    async def record(self, event: ExperimentEvent, signals: Signals = NO_SIGNALS) -> dict[str, Any]:
        """Write what a visitor did as an event of each experiment that it counts for."""
        if self._disabled_by:
            return {"tracked": False, "event_id": None, "reason": self._disabled_by, "events": []}
        arms = await self._arms(event)
        event_id = event.event_id or uuid4().hex
        # Without an instant the log takes that of receipt, and knows a repeated event all the same.
        at = {"event_at": event.timestamp.isoformat()} if event.timestamp else {}
        rows = []
        for experiment_id, variant in arms.items():
            context = {"event": event.event, "value": event.value, "variant": variant}
            rows.append(
                {
                    "event_id": event_id if len(arms) == 1 else f"{event_id}:{experiment_id}",
                    "event_type": CONVERSION,
                    "user_id": event.user_id,
                    "experiment_id": experiment_id,
                    **at,
                    "context": {key: value for key, value in context.items() if value is not None},
                }
            )
        outcomes = await self._tracker.track(rows, signals, "experiments")
        for outcome in outcomes:
            if outcome.status == "refused":
                raise _refusal(outcome, event)
        if outcomes[0].status == "not_tracked":
            return {"tracked": False, "event_id": None, "reason": outcomes[0].reason, "events": []}
        events = [
            {
                "event_id": outcome.event_id,
                "experiment_id": row["experiment_id"],
                "variant": arms[str(row["experiment_id"])],
                "status": outcome.status,
            }
            for row, outcome in zip(rows, outcomes, strict=True)
        ]
        return {"tracked": True, "event_id": outcomes[0].event_id, "reason": None, "events": events}

    async def _arms(self, event: ExperimentEvent) -> dict[str, str | None]:
        """Experiment -> variant that an event counts for."""
        met: dict[str, str | None] = dict(
            await self._database.read(lambda connection: store.arms_of(connection, event.user_id))
        )
        met.update(self._exposures.waiting_arms(event.user_id))
        met.pop(HOLDOUT_ID, None)
        if event.experiment is not None:
            if event.experiment != DEFAULT_ID:
                self._get(event.experiment)
            return {event.experiment: met.get(event.experiment)}
        now = self._now()
        counting = {
            each: variant
            for each, variant in met.items()
            if each == DEFAULT_ID or (each in self._held and self._held[each].status(now) == "running")
        }
        return counting or {self._first_for(event.user_id, {}).experiment_id: None}

    # definitions

    async def create(self, definition: Definition) -> dict[str, Any]:
        """Store a new experiment; raises `ExperimentConflict` where it does not fit beside the others."""
        now = self._now()

        def change(connection: sa.Connection) -> None:
            store.keep_others_out(connection)
            held = read_all(connection)
            if definition.id in held:
                raise ExperimentConflict(definition.id, "this id is taken: choose another one")
            put_new(connection, definition, held, now, "api")

        await self._database.write(change)
        await self.follow()
        return self.describe(self._get(definition.id))

    async def change(self, experiment_id: str, wanted: DefinitionChange) -> dict[str, Any]:
        """Change an experiment that did not begin, or the end, name and sample of one that runs."""
        self._get(experiment_id)
        now = self._now()

        def change(connection: sa.Connection) -> None:
            store.keep_others_out(connection)
            held = read_all(connection)
            present = held[experiment_id]
            if present.origin == "file":
                raise ExperimentConflict(experiment_id, "it stands in experiments.yaml: change it there")
            sent = wanted.model_dump(exclude_unset=True)
            merged = {**present.definition.model_dump(), **sent}
            try:
                definition = Definition.model_validate(merged)
            except ValidationError as error:
                raise InvalidField(*first_problem(error)) from None
            put_change(connection, definition, held, now)

        await self._database.write(change)
        await self.follow()
        return self.describe(self._get(experiment_id))

    async def stop(self, experiment_id: str) -> dict[str, Any]:
        """End an experiment now; its buckets are free again. Once more changes nothing."""
        present = self._get(experiment_id)
        if present.origin == "file":
            raise ExperimentConflict(experiment_id, "it stands in experiments.yaml: take it out there")
        now = self._now()

        def change(connection: sa.Connection) -> None:
            store.keep_others_out(connection)
            held = read_all(connection)[experiment_id]
            if held.stopped_at is None:
                put(connection, held, "stopped", now, stopped_at=micros(now))

        await self._database.write(change)
        await self.follow()
        return self.describe(self._get(experiment_id))

    async def read(self, experiment_id: str) -> dict[str, Any]:
        """One experiment with its versions and how many met each variant."""
        held = None if experiment_id == DEFAULT_ID else self._get(experiment_id)
        counts = await self._database.read(lambda c: store.exposed_counts(c, experiment_id))
        rows = await self._database.read(lambda c: store.versions(c, experiment_id))
        answer = self.describe(held) if held else self._describe_default()
        names = [variant.name for variant in (held.experiment if held else DEFAULT).variants]
        exposed = {name: counts.get(name, 0) for name in names}
        answer["exposed"] = exposed
        answer["has_sample"] = min(exposed.values()) >= answer["sample_size"]
        answer["versions"] = [
            {
                "version": row["version"],
                "change": row["change"],
                "changed_at": instant_text(row["changed_at"]),
            }
            for row in rows
        ]
        return answer

    def check_known(self, experiment_id: str) -> None:
        """Raises `UnknownExperiment` if there is none of this id, built in or not."""
        if experiment_id not in (DEFAULT_ID, HOLDOUT_ID):
            self._get(experiment_id)

    def list(self) -> dict[str, Any]:
        """Every experiment and what holds for all of them."""
        return {
            "enabled": self._disabled_by is None,
            "disabled_by": self._disabled_by,
            "holdout_share": self._holdout_share,
            "file_problem": self.file_problem,
            "experiments": [*(self.describe(held) for held in self._held.values()), self._describe_default()],
        }

    def describe(self, held: Held) -> dict[str, Any]:
        """One experiment as answers show it."""
        definition = held.definition
        return {
            "experiment_id": definition.id,
            "version": held.experiment.version,
            "status": held.status(self._now()),
            "origin": held.origin,
            "definition": definition.model_dump(mode="json"),
            "sample_size": definition.sample_size or self._sample_size,
            "created_at": instant_text(held.created_at),
            "stopped_at": instant_text(held.stopped_at),
        }

    def _describe_default(self) -> dict[str, Any]:
        variants = [{"name": each.name, "weight": each.weight, "parameters": {}} for each in DEFAULT.variants]
        hypothesis = (
            "An A/A test: both arms are the same, so a difference is chance or a fault of the measurement"
        )
        return {
            "experiment_id": DEFAULT_ID,
            "version": DEFAULT.version,
            "status": "running",
            "origin": "built_in",
            "definition": {"id": DEFAULT_ID, "name": "A/A", "hypothesis": hypothesis, "variants": variants},
            "sample_size": self._sample_size,
            "created_at": None,
            "stopped_at": None,
        }

    # following

    async def follow(self) -> None:
        """Take over what changed in the file, in the store and in the segments."""
        await self._follow_file()
        last_change = await self._database.read(store.last_change)
        if last_change != self._last_change:
            self._stored = await self._database.read(read_all)
        shares = await asyncio.to_thread(self._published_shares)
        if last_change != self._last_change or shares != self._shares:
            self._take_over({name: dealt_by(held, shares.get(name)) for name, held in self._stored.items()})
            self._last_change, self._shares = last_change, shares
        await self._follow_segments()

    async def _follow_on(self) -> None:
        while True:
            await asyncio.sleep(FOLLOW_SECONDS)
            with contextlib.suppress(StoreUnavailable):
                await self.follow()

    def _published_shares(self) -> dict[str, dict[str, float]]:
        """Of each bandit that runs, the shares that the last run of the pipeline found."""
        now = self._now()
        bandits = [
            name
            for name, held in self._stored.items()
            if held.experiment.mode == BANDIT and held.status(now) == "running"
        ]
        found = {name: self._results.published(name) for name in bandits}
        return {name: result["next_shares"] for name, result in found.items() if result}

    def _take_over(self, held: dict[str, Held]) -> None:
        self._held = held
        now = self._now()
        self._open = tuple(each.experiment for each in held.values() if each.status(now) != "ended")
        # The decisions that read some parameter of an experiment, by the first word of its keys.
        self._scopes = {
            each.experiment_id: frozenset(key.partition(".")[0] for key in each.keys) for each in self._open
        }

    async def _follow_file(self) -> None:
        path = self._home.experiments_file
        state = await asyncio.to_thread(_file_state, path)
        if state == self._file_state:
            return
        try:
            definitions = await asyncio.to_thread(read_experiments, path) if state else []
        except InvalidExperiments as error:
            if self.file_problem != str(error):
                logger.error("experiments.yaml is not in force", extra={"problem": str(error)})
            self.file_problem, self._file_state = str(error), state
            return
        now = self._now()
        problems = await self._database.write(lambda connection: put_file(connection, definitions, now))
        self.file_problem = "; ".join(problems) or None
        self._file_state = state
        for problem in problems:
            logger.error("an experiment of experiments.yaml is not in force", extra={"problem": problem})

    async def _follow_segments(self) -> None:
        wanted = {each.segment for each in self._open if each.segment is not None}
        release = self._release_id()
        if wanted <= self._audiences.keys() and release == self._audience_release:
            return
        self._audiences = await asyncio.to_thread(_read_segments, self._home, wanted) if wanted else {}
        self._audience_release = release

    # looking up

    def _get(self, experiment_id: str) -> Held:
        held = self._held.get(experiment_id)
        if held is None:
            raise UnknownExperiment(experiment_id)
        return held

    def _why_nothing(self, permissions: Permissions) -> str | None:
        if self._disabled_by:
            return self._disabled_by
        if permissions.tracking and permissions.personalization:
            return None
        return permissions.reason or "no_consent"

    def _why_not(self, experiment: Experiment, visitor_id: str, attributes: Mapping[str, Any]) -> str | None:
        return why_not(experiment, visitor_id, attributes, self._is_in_segment, self._holdout_share)

    def _is_in_segment(self, segment: str, visitor_id: str) -> bool:
        return visitor_id in self._audiences.get(segment, ())

    def _first_for(self, visitor_id: str, attributes: Mapping[str, Any]) -> Experiment:
        now = self._now()
        for experiment in self._open:
            if experiment.is_running(now) and self._why_not(experiment, visitor_id, attributes) is None:
                return experiment
        return DEFAULT


def _refusal(outcome: Outcome, event: ExperimentEvent) -> ServingError:
    if outcome.reason == "event_id_taken":
        return EventIdTaken(event.event_id or "")
    return InvalidField("event", event.event, outcome.detail or "it breaks the event contract")


def _file_state(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size


def _read_segments(home: Home, wanted: Iterable[str]) -> dict[str, frozenset[str]]:
    """Customers of each value segment, from the latest predictions."""
    files = sorted(home.prediction("user_predictions").glob("*.parquet"))
    if not files:
        return {segment: frozenset() for segment in wanted}
    table = pq.read_table(files[-1], columns=["user_id", "value_segment"])
    return {
        segment: frozenset(table.filter(pc.equal(table["value_segment"], segment))["user_id"].to_pylist())
        for segment in wanted
    }
