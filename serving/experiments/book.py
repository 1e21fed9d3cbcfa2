"""Definitions of experiments and the operational store: read, placed beside the others, changed in versions.

Every function is a change or a query of one transaction, so that what it checked still holds when it writes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import orjson
import sqlalchemy as sa
from pydantic import ValidationError

from serving.api.schemas.experiments import Definition
from serving.decisions.assignment import Condition, Experiment, Variant, free_ranges, free_share
from serving.errors import ExperimentConflict, InvalidField
from serving.store import experiments as store

# What deals visitors: a running experiment keeps it, or its visitors would be dealt anew in silence.
FROZEN = (
    "mode",
    "segment",
    "conditions",
    "variants",
    "metrics",
    "start",
    "layer",
    "share",
    "holdout_share",
    "salt",
)


@dataclass(frozen=True, slots=True)
class Held:
    """One stored experiment: as it was defined, and as assignment uses it."""

    definition: Definition
    experiment: Experiment
    origin: str
    created_at: int
    stopped_at: int | None

    def status(self, at: datetime) -> str:
        """scheduled, running or ended."""
        if self.stopped_at is not None or (self.definition.end is not None and at >= self.definition.end):
            return "ended"
        return "running" if self.experiment.is_running(at) else "scheduled"


def read_all(connection: sa.Connection) -> dict[str, Held]:
    return {str(row["experiment_id"]): _held(row) for row in store.all_rows(connection)}


def _held(row: Mapping[str, Any]) -> Held:
    stored = orjson.loads(row["definition"])
    ranges = tuple((int(low), int(high)) for low, high in stored.pop("ranges"))
    # Pydantic validated it when it was stored; a later version of ours must still read it.
    definition = Definition.model_validate(stored)
    return Held(
        definition,
        _experiment(definition, int(row["version"]), ranges),
        str(row["origin"]),
        int(row["created_at"]),
        row["stopped_at"],
    )


def _experiment(definition: Definition, version: int, ranges: tuple[tuple[int, int], ...]) -> Experiment:
    return Experiment(
        experiment_id=definition.id,
        version=version,
        layer=definition.layer,
        salt=definition.salt or definition.id,
        ranges=ranges,
        variants=tuple(Variant(each.name, each.weight, each.parameters) for each in definition.variants),
        segment=definition.segment,
        conditions=tuple(Condition(each.attribute, tuple(each.is_one_of)) for each in definition.conditions),
        holdout_share=definition.holdout_share,
        start=definition.start,
        end=definition.end,
        mode=definition.mode,
    )


def dealt_by(held: Held, shares: Mapping[str, float] | None) -> Held:
    """A bandit with the shares that its results call for; as it was defined before there are any."""
    if not shares:
        return held
    variants = tuple(
        replace(variant, weight=shares.get(variant.name, 0.0)) for variant in held.experiment.variants
    )
    return replace(held, experiment=replace(held.experiment, variants=variants))


def _place(definition: Definition, others: Iterable[Held], at: datetime) -> tuple[tuple[int, int], ...]:
    """Buckets of the layer; raises `ExperimentConflict` if they or the parameters are taken."""
    present = [each for each in others if each.status(at) != "ended" and each.definition.id != definition.id]
    keys = {key for variant in definition.variants for key in variant.parameters}
    for other in present:
        shared = keys & other.experiment.keys
        if shared and other.definition.layer != definition.layer:
            raise ExperimentConflict(
                definition.id,
                f"{other.definition.id} sets {min(shared)} too, in layer {other.definition.layer}:"
                " put both into one layer, or stop the other one",
            )
    taken = [
        each
        for other in present
        if other.definition.layer == definition.layer
        for each in other.experiment.ranges
    ]
    ranges = free_ranges(taken, definition.share)
    if ranges is None:
        raise ExperimentConflict(
            definition.id,
            f"layer {definition.layer} has {free_share(taken):.2%} of its visitors left, and"
            f" {definition.share:.2%} is asked for: take a smaller share or another layer,"
            " or stop an experiment",
        )
    return ranges


def put_new(
    connection: sa.Connection, definition: Definition, held: Mapping[str, Held], at: datetime, origin: str
) -> None:
    if definition.end is not None and definition.end <= at:
        raise InvalidField("end", definition.end.isoformat(), "give an end in the future")
    started = definition.model_copy(update={"start": definition.start or at})
    ranges = _place(started, held.values(), at)
    new = Held(started, _experiment(started, 0, ranges), origin, micros(at), None)
    put(connection, new, "created", at)


def put_change(
    connection: sa.Connection, definition: Definition, held: Mapping[str, Held], at: datetime
) -> None:
    present = held[definition.id]
    status = present.status(at)
    if status == "ended":
        raise ExperimentConflict(definition.id, "it has ended: start another one, with another id")
    if definition.end is not None and definition.end <= at:
        raise InvalidField(
            "end", definition.end.isoformat(), "give an end in the future, or stop the experiment"
        )
    before, after = present.definition.model_dump(), definition.model_dump()
    frozen = [name for name in FROZEN if before[name] != after[name]]
    if status == "running" and frozen:
        raise ExperimentConflict(
            definition.id,
            f"{', '.join(frozen)} cannot change while it runs: stop it and start one with another id",
        )
    if before == after:
        return
    started = definition.model_copy(update={"start": definition.start or at})
    ranges = _place(started, held.values(), at) if frozen else present.experiment.ranges
    changed = replace(present, definition=started, experiment=replace(present.experiment, ranges=ranges))
    put(connection, changed, "changed", at)


def put(
    connection: sa.Connection, held: Held, change: str, at: datetime, stopped_at: int | None = None
) -> None:
    stored = {**held.definition.model_dump(mode="json"), "ranges": held.experiment.ranges}
    row = {
        "experiment_id": held.definition.id,
        "version": held.experiment.version + 1,
        "origin": held.origin,
        "definition": orjson.dumps(stored, option=orjson.OPT_SORT_KEYS).decode(),
        "created_at": held.created_at,
        "stopped_at": stopped_at,
    }
    store.put(connection, row, change, micros(at))


def put_file(connection: sa.Connection, definitions: Sequence[Definition], at: datetime) -> list[str]:
    """Bring what experiments.yaml says into force, each experiment by itself; what could not be, and why."""
    store.keep_others_out(connection)
    problems: list[str] = []
    named = {definition.id for definition in definitions}
    for held in read_all(connection).values():
        if held.origin == "file" and held.definition.id not in named and held.stopped_at is None:
            put(connection, held, "stopped", at, stopped_at=micros(at))
    for definition in definitions:
        held_now = read_all(connection)
        present = held_now.get(definition.id)
        try:
            if present is None:
                put_new(connection, definition, held_now, at, "file")
            elif present.origin != "file":
                raise ExperimentConflict(definition.id, "the API made one of this id: choose another id")
            elif _says_the_same(definition, present.definition):
                continue
            else:
                started = definition.model_copy(
                    update={"start": definition.start or present.definition.start}
                )
                put_change(connection, started, held_now, at)
        except (ExperimentConflict, InvalidField) as error:
            problems.append(f"experiment {definition.id}: {error}")
    return problems


def _says_the_same(written: Definition, stored: Definition) -> bool:
    """Whether the file says what is stored; an experiment without a start got one when it was first read."""
    same = written.model_copy(update={"start": written.start or stored.start})
    return same.model_dump() == stored.model_dump()


def first_problem(error: ValidationError) -> tuple[str, object, str]:
    first = error.errors()[0]
    return ".".join(str(part) for part in first["loc"]) or "definition", first.get("input"), first["msg"]


def micros(at: datetime) -> int:
    return round(at.timestamp() * 1e6)


def instant_text(micros: int | None) -> str | None:
    return None if micros is None else datetime.fromtimestamp(micros / 1e6, UTC).isoformat()
