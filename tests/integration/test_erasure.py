"""An erased customer is nowhere: searched in every byte of every file, and in what compressed files hold.

The world is small, but everything is in it: a run with value models, an operational store with something in
every table that knows people, refused rows, logs. The shop's own files stay outside the home and keep the
customer: what is landed from them again must be refused.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from feature_repo.erasure import (
    STORES,
    TABLES_OF_NOBODY,
    add_tombstones,
    erased_in,
    store_of,
    subject_columns,
)
from feature_repo.event_log import tombstones
from feature_repo.layout import Home
from orchestration.completion import is_complete
from orchestration.landed import landed_days
from orchestration.marts import dirty_days
from tests.integration.small_shop import (
    AFTER,
    CANARY,
    END,
    VISITOR,
    WHOLE,
    Shop,
    attune,
    run_arguments,
)
from tests.leftovers import found_in
from tests.operational_store import OperationalStore, micros

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def home(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home that is ours to change, with more places where the customer is."""
    home = shop.copy(tmp_path_factory.mktemp("erasure") / "home")
    shutil.copytree(shop.world, home.root / "world")
    for name in ("run.log", "serve.log"):
        with (home.root / "logs" / name).open("a", encoding="utf-8") as log:
            log.write(f"something failed for user={CANARY} of [{VISITOR}]\n")
    output = home.dagster / "storage" / "a-run" / "compute_logs" / "step.err"
    output.parent.mkdir(parents=True)
    output.write_text(f'ValueError: "{CANARY}"\n', encoding="utf-8")
    plan = pa.table({"user_id": [CANARY, "somebody-else"], "subject": [f"For {CANARY}", "For you"]})
    home.campaign_run("spring", str(END)).parent.mkdir(parents=True)
    pq.write_table(plan, home.campaign_run("spring", str(END)))
    return home


def succeed(home: Home, *arguments: str) -> str:
    result = attune(home, *arguments)
    assert result.returncode == 0, result.stderr + result.stdout
    return result.stdout


def test_every_file_of_a_home_belongs_to_a_declared_store(home: Home) -> None:
    paths = [path for path in home.root.rglob("*") if path.is_file() and not path.is_symlink()]
    unnamed = [path for path in paths if store_of(path.relative_to(home.root)) is None]
    assert unnamed == []
    named = {store_of(path.relative_to(home.root)) for path in paths}
    absent = {store.pattern for store in STORES if store not in named}
    of_operators = {"experiments.yaml", "experiment_metrics.yaml", "rules.yaml", "config/**"}
    of_operators |= {"campaigns.yaml", "journeys.yaml"}
    of_experiments = {"experiments/**"}
    of_two_stages = {"features/item_matrices/**"}
    expected = {"landing/content.parquet", "truth/**", *of_experiments, *of_operators, *of_two_stages}
    assert absent <= expected
    assert store_of(Path("surprise/file.parquet")) is None


def test_every_table_of_the_operational_store_has_a_subject_or_is_known_to_have_none(home: Home) -> None:
    store = OperationalStore(home)
    with store.writing() as connection:
        subjects = subject_columns(connection)
        names = set(sa.inspect(connection).get_table_names())
    assert names - subjects.keys() <= TABLES_OF_NOBODY


def test_an_erased_customer_is_nowhere_even_after_replay_and_backfill(shop: Shop, home: Home) -> None:
    before = {hit.partition("/")[0] for hit in found_in(home.root, WHOLE)}
    assert before >= {"landing", "warehouse", "marts", "features", "operational", "logs", "dagster", "world"}
    plan = f"runs/spring/{END}.parquet"
    campaigns = {hit.partition(" ")[0] for hit in found_in(home.campaigns, WHOLE)}
    assert campaigns >= {"customers.parquet:user_id", f"{plan}:user_id", f"{plan}:subject"}

    receipt = succeed(home, "erase", CANARY, "--home", str(home.root))

    assert "2 ids" in receipt
    for store in ("landing/events", "landing/quarantine", "landing/customers.parquet", "warehouse", "marts"):
        [line] = [line for line in receipt.splitlines() if line.split()[0] == store]
        assert int(line.split()[-1].replace(",", "")) > 0, line
    assert found_in(home.root, WHOLE) == []
    assert dirty_days(home) == []
    assert is_complete(home)

    # The same run again: the shop's files still have the customer, and so has an event that was under way.
    OperationalStore(home).track("live-4", "2026-01-31T13:00:00Z", user_id=CANARY)
    output = succeed(home, *run_arguments(shop.world))
    assert "rows of people who were erased" in output
    assert "Nothing new" in output
    assert found_in(home.root / "landing", WHOLE) == []
    with OperationalStore(home).writing() as connection:
        connection.execute(sa.text("delete from events where event_id = 'live-4'"))

    # A backfill: a landed day is lost, and all tables are built again from what is landed.
    day = max(landed_days(home))
    (home.events / f"event_date={day}" / "simulator.parquet").unlink()
    succeed(home, *run_arguments(shop.world, "--full-refresh"))
    OperationalStore(home).engine.dispose()
    assert found_in(home.root, WHOLE) == []


def test_whom_the_service_marked_is_erased_by_the_next_run(home: Home) -> None:
    store = OperationalStore(home)
    customers = pq.read_table(home.customers_file)["user_id"].to_pylist()
    marked = customers[len(customers) // 2]
    with store.writing() as connection:
        add_tombstones(connection, [marked], micros(AFTER))
    output = succeed(home, "run", "--source", "event_log")
    assert "Erased 1 people" in output
    assert marked not in pq.read_table(home.customers_file)["user_id"].to_pylist()
    assert dirty_days(home) == []
    with store.writing() as connection:
        assert not erased_in(connection, pending=True)
        assert connection.execute(sa.select(sa.func.count()).select_from(tombstones)).scalar() == 3
