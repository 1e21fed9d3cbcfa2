"""The `attune` command: parses, calls, prints. Nothing heavy is imported before a command runs.

Exit codes: 0 done, 1 failed, 2 wrong usage or setting, 3 another run holds the home, 4 the input cannot be
used, 5 nothing released yet, 6 no model passed the gate, 130 interrupted.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.garbage import collect_rarely
from orchestration.kinds import KINDS

if TYPE_CHECKING:
    from orchestration.settings import Settings

app = typer.Typer(
    name="attune",
    help="A personalization platform that a shop runs itself: events in, reasoned answers out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Entry point: expected failures become one line on stderr and an exit code."""
    collect_rarely()
    # Warnings are about libraries' interfaces: for the log of a run, not for whoever types the command.
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").addHandler(logging.NullHandler())
    try:
        app()
    except KeyboardInterrupt:
        _fail("interrupted; the same command takes up where it stopped.", 130)
    except Exception as error:
        code = exit_code(error)
        if code is None:
            raise
        _fail(str(error), code)


def exit_code(error: Exception) -> int | None:
    """The exit code of an expected error; None for a bug, which shows its traceback."""
    from feature_repo.errors import FeatureError
    from orchestration.errors import AttuneError
    from training.errors import TrainingError

    if isinstance(error, AttuneError):
        return error.exit_code
    return 1 if isinstance(error, TrainingError | FeatureError | OSError) else None


@app.command()
def demo(
    users: Annotated[int, typer.Option(min=200, max=200_000, help="Customers of the simulated shop.")] = 3000,
    days: Annotated[int, typer.Option(min=230, max=1500, help="Days to simulate.")] = 270,
    seed: Annotated[int, typer.Option(help="Seed of the world; the same seed, the same events.")] = 1,
    serve: Annotated[bool, typer.Option(help="Start the service and ask it.")] = True,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to prefer for the service.")] = 8011,
) -> None:
    """Simulate a shop, run the whole pipeline on it, serve it, ask it, act in it, and run again on that."""
    settings = _settings()
    from orchestration.demo import DemoRequest, run_demo
    from orchestration.progress import open_view

    with open_view() as view:
        yesterday = datetime.now(UTC).date() - timedelta(days=1)
        summary = run_demo(settings, DemoRequest(users, days, seed, serve, port, yesterday), view)
    typer.echo(summary)


@app.command()
def run(
    source: Annotated[
        str, typer.Option(help="online_retail, tabular, simulator, event_log; or one and event_log: a,b.")
    ],
    path: Annotated[Path | None, typer.Option(help="Where the source lies; event_log needs none.")] = None,
    first: Annotated[
        datetime | None,
        typer.Option("--from", formats=["%Y-%m-%d"], metavar="DAY", help="First day to land."),
    ] = None,
    last: Annotated[
        datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], metavar="DAY", help="Last day to land.")
    ] = None,
    full_refresh: Annotated[bool, typer.Option("--full-refresh", help="Rebuild every table.")] = False,
) -> None:
    """Land, transform, validate, materialize, train, gate, release. Only what changed is done again."""
    if first is not None and last is not None and first > last:
        raise typer.BadParameter(f"--from {first.date()} is after --to {last.date()}")
    settings = _settings()
    from orchestration.progress import open_view
    from orchestration.run import RunRequest, run_pipeline
    from orchestration.status import describe_run

    request = RunRequest(source, path, _as_date(first), _as_date(last), full_refresh)
    with open_view() as view:
        result = run_pipeline(settings, request, view)
    typer.echo(describe_run(result, settings.home))


@app.command()
def tune(
    trials: Annotated[int, typer.Option(min=1, max=1000, help="Configurations to try at most.")] = 20,
    minutes: Annotated[float, typer.Option(min=0.1, max=1440.0, help="Time after which none is begun.")] = 20,
) -> None:
    """Search for better recommendations; every trial goes to MLflow, the next run trains with the best."""
    settings = _settings()
    from orchestration.lock import hold
    from orchestration.resources import Models
    from orchestration.tuning import tune as tune_models
    from training.search import Budget

    with hold(settings.home.lock):
        found = tune_models(settings, Models(settings), Budget(trials, minutes * 60), typer.echo)
    typer.echo(found.summary())


@app.command()
def explain(
    customer_id: Annotated[str, typer.Argument(metavar="CUSTOMER_ID", help="Whose list.")],
    limit: Annotated[int, typer.Option(min=1, max=50, help="Items to explain.")] = 5,
    new: Annotated[bool, typer.Option("--new", help="Only what the customer never bought.")] = False,
) -> None:
    """Why a customer is recommended what they are: sources, their own history, the ranker's contributions."""
    settings = _settings()
    from orchestration.explaining import explain_customer
    from orchestration.resources import Models

    typer.echo(explain_customer(settings.home, Models(settings), customer_id, limit, new).summary())


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to bind (default: API_HOST).")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port to bind (default: PORT).")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=64, help="Processes (default: ATTUNE_WORKERS).")
    ] = None,
) -> None:
    """Serve the current release over HTTP; a newer release is picked up while it runs."""
    settings = _settings()
    from orchestration.processes import serve_command, serving_environment

    environment = serving_environment(settings, host, port, workers)
    command = serve_command()
    os.execve(command[0], command, environment)


@app.command()
def erase(
    user_id: Annotated[str, typer.Argument(metavar="USER_ID", help="The customer to forget, for good.")],
    home: Annotated[Path | None, typer.Option(help="State directory (default: ATTUNE_HOME).")] = None,
) -> None:
    """Erase a customer from every store; what is landed later of them is refused. Prints what was removed."""
    if home is not None:
        os.environ["ATTUNE_HOME"] = str(home)
    settings = _settings()
    from orchestration.erasure import erase as erase_user
    from orchestration.lock import hold

    with hold(settings.home.lock):
        receipt = erase_user(settings, user_id)
    typer.echo("\n".join(receipt.lines()))
    typer.echo(f"Erased: {receipt.total:,} rows of {receipt.subjects} ids in {receipt.seconds:.1f} s.")
    typer.echo("Counts of days, popularity and models stay as they are until they are made again.")


@app.command()
def rollback(
    by: Annotated[str, typer.Option(metavar="NAME", help="Who decides this.")],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; kept in releases/history.jsonl.")],
    to: Annotated[
        str | None, typer.Option(metavar="RELEASE_ID", help="Default: the release before the present one.")
    ] = None,
) -> None:
    """Serve an earlier release again, at once; champions and every customer's lists follow."""
    settings = _settings()
    from orchestration.lock import hold
    from orchestration.promotion import Signature, roll_back

    signature = Signature(by, reason)
    with hold(settings.home.lock):
        roll_back(settings, signature, to, typer.echo)


@app.command()
def promote(
    kind: Annotated[str, typer.Argument(metavar="KIND", help=f"{', '.join(KINDS[:-1])} or {KINDS[-1]}.")],
    by: Annotated[str, typer.Option(metavar="NAME", help="Who decides this.")],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; a tag of the version in MLflow.")],
    version: Annotated[
        str | None, typer.Option(metavar="N", help="Version in MLflow; default: the challenger.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Needed: the gate refused this version.")] = False,
) -> None:
    """Make a version champion though the gate refused it, and release it; signed and logged."""
    settings = _settings()
    from orchestration.errors import WrongRequest
    from orchestration.lock import hold
    from orchestration.promotion import Signature, force_promotion

    if not force:
        raise WrongRequest("promotion is the gate's, in `attune run`; to overrule it add --force.")
    signature = Signature(by, reason)
    with hold(settings.home.lock):
        force_promotion(settings, signature, kind, version, typer.echo)


class CampaignAction(StrEnum):
    """What `attune campaign` does."""

    RUN = "run"
    DAILY = "daily"
    SEND = "send"
    LIST = "list"
    DIAGRAM = "diagram"


@app.command()
def campaign(
    action: Annotated[
        CampaignAction,
        typer.Argument(
            help="run NAME: plan today's messages. daily: plan all, move journeys. send: what is"
            " due. list: what stands where. diagram NAME: a journey in Mermaid."
        ),
    ],
    name: Annotated[str | None, typer.Argument(help="A campaign, or for `diagram` a journey.")] = None,
    send: Annotated[bool, typer.Option("--send", help="With run: queue the messages; else drafts.")] = False,
) -> None:
    """Plan, send and show campaigns and journeys; nothing leaves the house unless it is told to."""
    settings = _settings()
    from orchestration.campaigns import campaign_command, campaign_environment

    words = [action.value, *([name] if name else []), *(["--send"] if send else [])]
    command = campaign_command(*words)
    os.execve(command[0], command, campaign_environment(settings))


@app.command()
def ui(
    dagster_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the Dagster UI.")] = 3000,
    mlflow_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the MLflow UI.")] = 5000,
) -> None:
    """Open the Dagster and MLflow UIs on this machine only, until interrupted."""
    settings = _settings()
    from orchestration.processes import run_ui

    run_ui(settings, dagster_port, mlflow_port, typer.echo)


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="The same as JSON.")] = False,
) -> None:
    """What is landed, how fresh the features are, the champions with their metrics, the release served."""
    settings = _settings()
    from orchestration.status import read_status, render_status

    found = read_status(settings)
    if as_json:
        typer.echo(json.dumps(found, indent=2, default=str))
    else:
        typer.echo(render_status(found))


@app.command()
def simulate(
    path: Annotated[Path, typer.Option(help="Folder to write the world to; empty, or a world to replace.")],
    users: Annotated[int, typer.Option(min=10, help="Customers.")] = 3000,
    days: Annotated[int, typer.Option(min=1, help="Days.")] = 270,
    seed: Annotated[int, typer.Option(help="Seed; the same seed, the same events.")] = 1,
    end: Annotated[
        datetime | None, typer.Option("--end", formats=["%Y-%m-%d"], metavar="DAY", help="Last day.")
    ] = None,
) -> None:
    """Write a simulated shop: raw events by day of arrival, catalogue, customers, and the truth."""
    from orchestration.progress import open_view
    from orchestration.simulator import DEFAULT_END_DATE
    from orchestration.simulator import simulate as simulate_world

    with open_view() as view:
        view.begin("simulate")
        report = simulate_world(
            path,
            users,
            days,
            seed,
            _as_date(end) or DEFAULT_END_DATE,
            lambda done, total: view.advance("simulate", done, total, f"day {done} of {total}"),
        )
        view.end("simulate", f"{report.events:,} events")
    typer.echo(f"Next: attune run --source simulator --path {path}")


def _settings() -> Settings:
    """The settings; every library that is imported after this finds its environment wired."""
    from orchestration.settings import process_environment, read_settings

    settings = read_settings()
    os.environ.update(process_environment(settings))
    return settings


def _as_date(value: datetime | None) -> date | None:
    return None if value is None else value.replace(tzinfo=UTC).date()


def _fail(message: str, code: int) -> None:
    typer.echo(f"error: {' '.join(message.split())}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
