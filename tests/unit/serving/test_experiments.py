"""Experiments over a real store: definitions, versions, the file, assignment, exposures, conversions."""

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from feature_repo.event_log import operational_url
from feature_repo.layout import Home
from serving.api.schemas.experiments import EXAMPLE, Definition, DefinitionChange, ExperimentEvent
from serving.decisions.assignment import NOTHING, is_held_out
from serving.errors import (
    ExperimentConflict,
    InvalidExperiments,
    InvalidField,
    StoreUnavailable,
    UnknownExperiment,
)
from serving.experiments.arms import Experiments
from serving.experiments.exposures import exposure_id
from serving.experiments.file import read_experiments
from serving.flags import Flags
from serving.metrics import Metrics
from serving.people.permissions import Permissions, Signals
from serving.settings import read_settings
from serving.store.database import Database

ALLOWED = Permissions()
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
ARMS = [
    {"name": "control", "parameters": {"recommendations.algorithm": "collaborative"}},
    {"name": "variant_a", "parameters": {"recommendations.algorithm": "popular"}},
]


@dataclass
class Outcome:
    event_id: str
    status: str = "accepted"
    detail: str | None = None
    reason: str | None = None


class FakeLog:
    """An event log in memory: an id counts once; `away` and `refuses` decide how it answers."""

    def __init__(self) -> None:
        self.rows: dict[str, Mapping[str, Any]] = {}
        self.away = False
        self.untracked: set[str] = set()

    async def track(self, rows: Sequence[Mapping[str, Any]], signals: Signals, source: str) -> list[Outcome]:
        if self.away:
            raise StoreUnavailable("test")
        return [self._one(row) for row in rows]

    def _one(self, row: Mapping[str, Any]) -> Outcome:
        if row["user_id"] in self.untracked:
            return Outcome(row["event_id"], "not_tracked", reason="opted_out")
        status = "duplicate" if row["event_id"] in self.rows else "accepted"
        self.rows.setdefault(row["event_id"], row)
        return Outcome(row["event_id"], status)

    def of_type(self, kind: str) -> list[Mapping[str, Any]]:
        return [row for row in self.rows.values() if row["event_type"] == kind]


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


Scenario = Callable[[Experiments, FakeLog, Clock], Awaitable[None]]


def run(home: Path, scenario: Scenario, **env: str) -> None:
    async def body() -> None:
        settings = read_settings({"ATTUNE_HOME": str(home), **env})
        metrics = Metrics()
        database = Database.open(operational_url(Home(home)), metrics)
        log, clock = FakeLog(), Clock()
        experiments = Experiments(database, log, Flags(settings), settings, metrics, now=clock)
        await experiments.start()
        try:
            await scenario(experiments, log, clock)
        finally:
            await experiments.close()
            await database.close()

    asyncio.run(body())


def definition(name: str = "algorithms", **more: Any) -> Definition:
    return Definition.model_validate({"id": name, "variants": ARMS, **more})


def visitors(count: int) -> list[str]:
    return [f"visitor-{number}" for number in range(count)]


def test_the_built_in_experiment_answers_on_a_fresh_install_and_sticks(tmp_path: Path) -> None:
    async def scenario(experiments: Experiments, log: FakeLog, _: Clock) -> None:
        first = experiments.variant("42", None, ALLOWED)
        assert first["experiment_id"] == "default" and first["variant"] in ("control", "variant_a")
        assert first["is_assigned"] and first["parameters"] == {}
        assert experiments.variant("42", None, ALLOWED) == first
        assert {experiments.variant(v, None, ALLOWED)["variant"] for v in visitors(20)} == {
            "control",
            "variant_a",
        }
        assert experiments.parameters("42", ALLOWED) == NOTHING

    run(tmp_path, scenario)


def test_a_running_experiment_deals_by_weight_and_sets_parameters(tmp_path: Path) -> None:
    async def scenario(experiments: Experiments, log: FakeLog, _: Clock) -> None:
        weighted = [{**ARMS[0], "weight": 3}, {**ARMS[1], "weight": 1}]
        made = await experiments.create(definition(variants=weighted, share=0.5))
        assert (made["status"], made["version"], made["origin"]) == ("running", 1, "api")
        got = [experiments.parameters(visitor, ALLOWED) for visitor in visitors(4000)]
        inside = [each for each in got if each.arms]
        assert len(inside) == pytest.approx(2000, rel=0.1)
        counts = Counter(each.arms["algorithms"] for each in inside)
        assert counts["control"] == pytest.approx(1500, rel=0.1)
        for each in inside:
            wanted = {"control": "collaborative", "variant_a": "popular"}[each.arms["algorithms"]]
            assert each.values == {"recommendations.algorithm": wanted}

    run(tmp_path, scenario)


def test_a_scope_leaves_out_what_a_decision_does_not_read(tmp_path: Path) -> None:
    async def scenario(experiments: Experiments, log: FakeLog, _: Clock) -> None:
        await experiments.create(definition())
        assert experiments.parameters("42", ALLOWED, scope="recommendations").arms
        assert experiments.parameters("42", ALLOWED, scope="homepage") == NOTHING

    run(tmp_path, scenario)


def test_without_consent_everybody_gets_the_control_and_nobody_is_counted(tmp_path: Path) -> None:
    async def scenario(experiments: Experiments, log: FakeLog, _: Clock) -> None:
        await experiments.create(definition())
        for refused in (
            Permissions(personalization=False, reason="opted_out"),
            Permissions(tracking=False, reason="do_not_track"),
        ):
            assert experiments.parameters("42", refused) == NOTHING
            answer = experiments.variant("42", "algorithms", refused)
            assert (answer["variant"], answer["is_assigned"]) == ("control", False)
            assert answer["reason"] == refused.reason
        await asyncio.sleep(0.5)
        assert log.rows == {}

    run(tmp_path, scenario)


def test_switched_off_everybody_gets_the_control(tmp_path: Path) -> None:
    async def scenario(experiments: Experiments, log: FakeLog, _: Clock) -> None:
        await experiments.create(definition())
        assert experiments.parameters("42", ALLOWED) == NOTHING
        for visitor in visitors(20):
            answer = experiments.variant(visitor, "algorithms", ALLOWED)
            assert (answer["variant"], answer["reason"]) == ("control", "ENABLE_AB_TESTING=false")
        tracked = await experiments.record(ExperimentEvent(user_id="42", event="conversion"))
        assert (tracked["tracked"], tracked["reason"]) == (False, "ENABLE_AB_TESTING=false")
        assert log.rows == {}

    run(tmp_path, scenario, ENABLE_AB_TESTING="false")


def test_an_exposure_is_logged_once_however_often_and_by_whomever(tmp_path: Path) -> None:
    async def scenario(experiments: Experiments, log: FakeLog, _: Clock) -> None:
        await experiments.create(definition())
        for _ in range(3):
            experiments.expose("42", experiments.parameters("42", ALLOWED).arms)
            experiments.variant("42", "algorithms", ALLOWED)
        await asyncio.sleep(0.5)
        [event] = log.of_type("experiment_exposure")
        assert event["event_id"] == exposure_id("algorithms", "42")
        assert event["context"]["variant"] in ("control", "variant_a")
        experiments._exposures._met.clear()  # as after a restart, or in another worker
        experiments.variant("42", "algorithms", ALLOWED)
        await asyncio.sleep(0.5)
        assert len(log.rows) == 1
        read = await experiments.read("algorithms")
        assert sum(read["exposed"].values()) == 1
        assert read["has_sample"] is False

    run(tmp_path, scenario)


def test_exposures_wait_while_the_log_is_away_and_skip_those_who_object(tmp_path: Path) -> None:
    async def scenario(experiments: Experiments, log: FakeLog, _: Clock) -> None:
        log.away = True
        log.untracked = {"objector"}
        for visitor in ("42", "objector"):
            experiments.variant(visitor, "default", ALLOWED)
        await asyncio.sleep(0.4)
        assert log.rows == {}
        log.away = False
        await asyncio.sleep(1.5)
        assert [row["user_id"] for row in log.rows.values()] == ["42"]

    run(tmp_path, scenario)


def test_the_holdout_is_in_no_experiment_and_is_measured_as_one(tmp_path: Path) -> None:
    async def scenario(experiments: Experiments, log: FakeLog, _: Clock) -> None:
        await experiments.create(definition())
        held = next(visitor for visitor in visitors(1000) if is_held_out(visitor, 0.1))
        free = next(visitor for visitor in visitors(1000) if not is_held_out(visitor, 0.1))
        assert experiments.parameters(held, ALLOWED).arms == {"holdout": "held_out"}
        assert experiments.parameters(held, ALLOWED).values == {"recommendations.algorithm": "popular"}
        assert experiments.parameters(held, ALLOWED, scope="homepage") == NOTHING
        assert experiments.parameters(free, ALLOWED).arms.keys() == {"holdout", "algorithms"}
        assert experiments.variant(held, "algorithms", ALLOWED)["reason"] == "holdout"

    run(tmp_path, scenario, ATTUNE_HOLDOUT_SHARE="0.1")


def test_a_bandit_deals_by_the_published_shares_and_logs_with_which(tmp_path: Path) -> None:
    async def scenario(experiments: Experiments, log: FakeLog, _: Clock) -> None:
        await experiments.create(definition(mode="bandit"))
        path = Home(tmp_path).experiment_result("algorithms")
        path.parent.mkdir()
        path.write_text('{"next_shares": {"control": 0.05, "variant_a": 0.95}}')
        await experiments.follow()
        got = Counter(experiments.variant(v, "algorithms", ALLOWED)["variant"] for v in visitors(1000))
        assert got["variant_a"] == pytest.approx(950, abs=30)
        await asyncio.sleep(0.4)
        logged = {row["context"]["variant"]: row["context"]["propensity"] for row in log.rows.values()}
        assert logged == {"control": 0.05, "variant_a": 0.95}

    run(tmp_path, scenario)


def test_a_segment_is_read_from_the_latest_predictions(tmp_path: Path) -> None:
    folder = Home(tmp_path).prediction("user_predictions")
    folder.mkdir(parents=True)
    for day, segment in (("2026-01-01", "low"), ("2026-01-02", "high")):
        pq.write_table(pa.table({"user_id": ["anna"], "value_segment": [segment]}), folder / f"{day}.parquet")

    async def scenario(experiments: Experiments, log: FakeLog, _: Clock) -> None:
        await experiments.create(definition(customer_segment="high_value_customers"))
        assert experiments.parameters("anna", ALLOWED).arms
        assert experiments.variant("bert", "algorithms", ALLOWED)["reason"] == "outside_the_segment"

    run(tmp_path, scenario)


def test_conditions_look_at_the_request(tmp_path: Path) -> None:
    async def scenario(experiments: Experiments, log: FakeLog, _: Clock) -> None:
        mobile = [{"attribute": "device_type", "is_one_of": ["mobile"]}]
        await experiments.create(definition(conditions=mobile))
        assert experiments.parameters("42", ALLOWED, {"device_type": "mobile"}).arms
        assert not experiments.parameters("42", ALLOWED, {"device_type": "desktop"}).arms
        assert not experiments.parameters("42", ALLOWED).arms

    run(tmp_path, scenario)


def test_an_experiment_runs_between_its_start_and_its_end(tmp_path: Path) -> None:
    async def scenario(experiments: Experiments, log: FakeLog, clock: Clock) -> None:
        made = await experiments.create(
            definition(start=NOW + timedelta(days=1), end=NOW + timedelta(days=2))
        )
        assert made["status"] == "scheduled"
        for days, status in ((0, "scheduled"), (1, None), (2, "ended")):
            clock.now = NOW + timedelta(days=days)
            assert bool(experiments.parameters("42", ALLOWED).arms) is (status is None)
            assert experiments.variant("42", "algorithms", ALLOWED)["reason"] == status

    run(tmp_path, scenario)


def test_the_plain_call_names_the_oldest_running_experiment_of_the_visitor(tmp_path: Path) -> None:
    async def scenario(experiments: Experiments, log: FakeLog, _: Clock) -> None:
        await experiments.create(definition(share=0.5))
        await experiments.create(
            definition(
                "layouts",
                share=1,
                layer="page",
                variants=[{"name": "control"}, {"name": "b", "parameters": {"homepage.layout": "list"}}],
            )
        )
        chosen = {experiments.variant(v, None, ALLOWED)["experiment_id"] for v in visitors(50)}
        assert chosen == {"algorithms", "layouts"}

    run(tmp_path, scenario)


def test_an_unknown_experiment_is_named(tmp_path: Path) -> None:
    async def scenario(experiments: Experiments, log: FakeLog, _: Clock) -> None:
        with pytest.raises(UnknownExperiment, match="nowhere"):
            experiments.variant("42", "nowhere", ALLOWED)
        with pytest.raises(UnknownExperiment):
            await experiments.record(ExperimentEvent(user_id="42", event="x", experiment="nowhere"))

    run(tmp_path, scenario)


# conversions


def test_a_conversion_counts_for_what_the_visitor_met(tmp_path: Path) -> None:
    async def scenario(experiments: Experiments, log: FakeLog, _: Clock) -> None:
        await experiments.create(definition())
        variant = experiments.variant("42", "algorithms", ALLOWED)["variant"]
        experiments.variant("42", "default", ALLOWED)
        answer = await experiments.record(ExperimentEvent(user_id="42", event="conversion", value=25.0))
        assert answer["tracked"] and answer["event_id"]
        assert {each["experiment_id"] for each in answer["events"]} == {"algorithms", "default"}
        rows = {row["experiment_id"]: row for row in log.of_type("experiment_conversion")}
        assert rows["algorithms"]["context"] == {"event": "conversion", "value": 25.0, "variant": variant}

    run(tmp_path, scenario)


def test_a_conversion_of_somebody_who_met_nothing_counts_for_the_plain_call(tmp_path: Path) -> None:
    async def scenario(experiments: Experiments, log: FakeLog, _: Clock) -> None:
        answer = await experiments.record(ExperimentEvent(user_id="42", event="conversion", event_id="mine"))
        [event] = answer["events"]
        assert (event["event_id"], event["experiment_id"], event["variant"]) == ("mine", "default", None)
        again = await experiments.record(ExperimentEvent(user_id="42", event="conversion", event_id="mine"))
        assert again["events"][0]["status"] == "duplicate"

    run(tmp_path, scenario)


def test_a_conversion_of_somebody_who_objects_is_not_stored(tmp_path: Path) -> None:
    async def scenario(experiments: Experiments, log: FakeLog, _: Clock) -> None:
        log.untracked = {"42"}
        answer = await experiments.record(ExperimentEvent(user_id="42", event="conversion"))
        assert answer == {"tracked": False, "event_id": None, "reason": "opted_out", "events": []}

    run(tmp_path, scenario)


# definitions


def test_what_deals_visitors_cannot_change_while_an_experiment_runs(tmp_path: Path) -> None:
    async def scenario(experiments: Experiments, log: FakeLog, _: Clock) -> None:
        await experiments.create(definition(share=0.5))
        heavier = [{**ARMS[0], "weight": 9}, ARMS[1]]
        for refused in ({"variants": heavier}, {"share": 1.0}, {"salt": "other"}, {"metrics": ["ctr"]}):
            with pytest.raises(ExperimentConflict, match="cannot change while it runs"):
                await experiments.change("algorithms", DefinitionChange.model_validate(refused))
        longer = await experiments.change(
            "algorithms", DefinitionChange(end=NOW + timedelta(days=30), sample_size=50, hypothesis="so")
        )
        assert (longer["version"], longer["sample_size"]) == (2, 50)
        read = await experiments.read("algorithms")
        assert [each["change"] for each in read["versions"]] == ["created", "changed"]

    run(tmp_path, scenario)


def test_before_its_start_everything_can_change(tmp_path: Path) -> None:
    async def scenario(experiments: Experiments, log: FakeLog, _: Clock) -> None:
        await experiments.create(definition(start=NOW + timedelta(days=1)))
        changed = await experiments.change(
            "algorithms", DefinitionChange.model_validate({"share": 0.25, "layer": "other", "salt": "again"})
        )
        assert changed["definition"]["share"] == 0.25
        with pytest.raises(InvalidField, match="end"):
            await experiments.change("algorithms", DefinitionChange(end=NOW - timedelta(days=1)))
        with pytest.raises(InvalidField, match="not after start"):
            await experiments.change("algorithms", DefinitionChange(end=NOW + timedelta(hours=2)))

    run(tmp_path, scenario)


def test_an_unchanged_change_makes_no_version(tmp_path: Path) -> None:
    async def scenario(experiments: Experiments, log: FakeLog, _: Clock) -> None:
        await experiments.create(definition(hypothesis="so"))
        assert (await experiments.change("algorithms", DefinitionChange(hypothesis="so")))["version"] == 1

    run(tmp_path, scenario)


def test_experiments_of_a_layer_share_its_visitors_and_free_them_when_stopped(tmp_path: Path) -> None:
    async def scenario(experiments: Experiments, log: FakeLog, _: Clock) -> None:
        await experiments.create(definition("first", share=0.6))
        with pytest.raises(ExperimentConflict, match="40.00% of its visitors left"):
            await experiments.create(definition("second", share=0.5))
        await experiments.create(definition("second", share=0.4))
        arms = [experiments.parameters(visitor, ALLOWED).arms for visitor in visitors(500)]
        assert {len(each) for each in arms} == {1}
        stopped = await experiments.stop("first")
        assert (stopped["status"], stopped["version"]) == ("ended", 2)
        assert (await experiments.stop("first"))["version"] == 2
        assert (await experiments.create(definition("third", share=0.6)))["status"] == "running"
        with pytest.raises(ExperimentConflict, match="has ended"):
            await experiments.change("first", DefinitionChange(hypothesis="late"))

    run(tmp_path, scenario)


def test_a_parameter_belongs_to_one_layer_at_a_time(tmp_path: Path) -> None:
    async def scenario(experiments: Experiments, log: FakeLog, _: Clock) -> None:
        await experiments.create(definition("first", share=0.1))
        with pytest.raises(ExperimentConflict, match="first sets recommendations.algorithm too"):
            await experiments.create(definition("second", layer="other"))
        with pytest.raises(ExperimentConflict, match="taken"):
            await experiments.create(definition("first"))

    run(tmp_path, scenario)


def test_a_second_worker_follows_and_assigns_alike(tmp_path: Path) -> None:
    async def scenario(experiments: Experiments, log: FakeLog, clock: Clock) -> None:
        settings = read_settings({"ATTUNE_HOME": str(tmp_path)})
        metrics = Metrics()
        database = Database.open(operational_url(Home(tmp_path)), metrics)
        other = Experiments(database, log, Flags(settings), settings, metrics, now=clock)
        try:
            await other.follow()
            await experiments.create(definition())
            await other.follow()
            for visitor in visitors(50):
                assert other.parameters(visitor, ALLOWED) == experiments.parameters(visitor, ALLOWED)
                assert other.parameters(visitor, ALLOWED).arms
        finally:
            await database.close()

    run(tmp_path, scenario)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"variants": ARMS[:1]}, "variants"),
        ({"variants": [*ARMS, *({"name": f"v{n}"} for n in range(4))]}, "variants"),
        ({"variants": [ARMS[0], ARMS[0]]}, "one name"),
        ({"variants": [{"name": "a", "weight": 0}, {"name": "b"}]}, "weight above 0"),
        ({"variants": [{"name": "a", "weight": -1}, {"name": "b"}]}, "weight"),
        ({"variants": {"a": {"algorithm": "guess"}, "b": {}}}, "recommendations.algorithm='guess'"),
        ({"variants": {"a": {"parameters": {"weather": 1}}, "b": {}}}, "read by no decision"),
        ({"variants": {"a": {"parameters": {"app.x": "y" * 3000}}, "b": {}}}, "bytes"),
        ({"variants": ARMS, "metrics": ["happiness"]}, "metrics"),
        ({"variants": ARMS, "segment": "rich"}, "segment"),
        ({"variants": ARMS, "start": "2026-02-02T00:00:00Z", "end": "2026-02-01T00:00:00Z"}, "after start"),
        ({"variants": ARMS, "share": 0}, "share"),
        ({"variants": ARMS, "colour": "red"}, "colour"),
        ({"variants": ARMS, "id": "default"}, "built in"),
        ({"variants": ARMS, "id": "Not An Id"}, "id"),
    ],
)
def test_a_definition_that_cannot_work_is_refused(body: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        Definition.model_validate({"id": "x", **body})


def test_the_documents_spelling_of_a_definition_is_accepted() -> None:
    read = Definition.model_validate(
        {
            "name": "Product Recommendation Algorithm Test",
            "customer_segment": "high_value_customers",
            "variants": {
                "control": {"algorithm": "collaborative_filtering"},
                "variant_a": {"algorithm": "hybrid_neural"},
                "variant_b": {"algorithm": "content_based_enhanced"},
            },
            "success_metrics": ["click_through_rate", "conversion_rate", "revenue_per_visitor"],
        }
    )
    assert (read.id, read.segment) == ("product-recommendation-algorithm-test", "high")
    assert [each.parameters["recommendations.algorithm"] for each in read.variants] == [
        "collaborative",
        "hybrid",
        "content",
    ]
    assert Definition.model_validate(EXAMPLE).layer == "recommendations"


# the file

FILE = """
experiments:
  - id: from-file
    layer: page
    variants:
      control: {}
      list: {parameters: {homepage.layout: list}}
"""


def write(home: Path, text: str) -> None:
    path = Home(home).experiments_file
    path.write_text(text)
    # Two writes within one tick of a coarse clock would look alike.
    os.utime(path, ns=(len(text), path.stat().st_mtime_ns + len(text)))


def test_experiments_of_the_file_run_and_end_when_they_are_taken_out(tmp_path: Path) -> None:
    write(tmp_path, FILE)

    async def scenario(experiments: Experiments, log: FakeLog, _: Clock) -> None:
        assert experiments.parameters("42", ALLOWED, scope="homepage").arms
        [held, _] = experiments.list()["experiments"]
        assert (held["origin"], held["version"], held["status"]) == ("file", 1, "running")
        with pytest.raises(ExperimentConflict, match="experiments.yaml"):
            await experiments.stop("from-file")
        with pytest.raises(ExperimentConflict, match="experiments.yaml"):
            await experiments.change("from-file", DefinitionChange(hypothesis="x"))
        write(tmp_path, FILE + "    hypothesis: later\n")
        await experiments.follow()
        assert experiments.list()["experiments"][0]["version"] == 2
        write(tmp_path, FILE.replace("homepage.layout: list", "homepage.layout: grid"))
        await experiments.follow()
        assert "cannot change while it runs" in str(experiments.file_problem)
        assert experiments.list()["experiments"][0]["version"] == 2
        Home(tmp_path).experiments_file.unlink()
        await experiments.follow()
        assert experiments.list()["experiments"][0]["status"] == "ended"
        assert experiments.file_problem is None

    run(tmp_path, scenario)


def test_a_file_that_breaks_later_leaves_what_was_in_force(tmp_path: Path) -> None:
    write(tmp_path, FILE)

    async def scenario(experiments: Experiments, log: FakeLog, _: Clock) -> None:
        write(tmp_path, FILE + "  - id: [\n")
        await experiments.follow()
        assert "experiments.yaml line" in str(experiments.file_problem)
        assert experiments.parameters("42", ALLOWED, scope="homepage").arms

    run(tmp_path, scenario)


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("experiments:\n  - id: [\n", 3, ""),
        ("tests: []\n", 1, "experiments:"),
        ("experiments:\n  - id: a\n    share: 2\n    variants: {a: {}, b: {}}\n", 3, "share=2"),
        ("experiments:\n  - id: a\n    variants:\n      a: {weight: -1}\n      b: {}\n", 4, "weight=-1"),
        ("experiments:\n  - id: a\n    variants: {a: {}, b: {}}\n    metrics: [ctr, joy]\n", 4, "metrics.1"),
        (
            "experiments:\n  - {id: a, variants: {a: {}, b: {}}}\n  - {id: a, variants: {a: {}, b: {}}}\n",
            3,
            "stands above already",
        ),
    ],
)
def test_a_problem_of_the_file_has_its_line_and_field(
    tmp_path: Path, text: str, line: int, problem: str
) -> None:
    path = tmp_path / "experiments.yaml"
    path.write_text(text)
    with pytest.raises(InvalidExperiments, match=f"line {line}: .*{problem}") as refused:
        read_experiments(path)
    assert refused.value.line == line


def test_no_file_and_an_empty_file_define_nothing(tmp_path: Path) -> None:
    path = tmp_path / "experiments.yaml"
    assert read_experiments(path) == []
    path.write_text("# nothing yet\n")
    assert read_experiments(path) == []
