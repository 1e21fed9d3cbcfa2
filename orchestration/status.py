"""`attune status`: what is landed, published, fresh, champion, released; and the end of a run in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from feature_repo.layout import Home
from orchestration.completion import is_complete
from orchestration.kinds import KINDS
from orchestration.landed import landing_summary
from orchestration.lock import holder
from orchestration.marts import current_manifest, dirty_days
from orchestration.settings import Settings

if TYPE_CHECKING:
    from orchestration.run import RunResult


def read_status(settings: Settings) -> dict[str, Any]:
    """Everything that `attune status` tells, as JSON values (days and instants as text)."""
    home = settings.home
    manifest = current_manifest(home)
    return {
        "home": str(home.root),
        "running": holder(home.lock),
        "landed": _texts(asdict(landing_summary(home))),
        "published": None
        if manifest is None
        else {
            "version": manifest.id,
            "data_until": str(manifest.data_until),
            "days": len(manifest.days),
            "rows": manifest.rows,
        },
        "dirty_days": [day.isoformat() for day in dirty_days(home)],
        "complete": is_complete(home),
        "features": _feature_views(settings),
        "champions": _champions(settings),
        "release": _release(home),
    }


def render_status(found: Mapping[str, Any]) -> str:
    """The status for people."""
    landed, published, release = found["landed"], found["published"], found["release"]
    lines = [f"home        {found['home']}"]
    if found["running"]:
        lines.append(f"running     process {found['running']} is working here")
    if landed["days"] == 0:
        lines.append("landed      nothing yet; `attune demo`, or `attune run --source NAME --path DIR`")
        return "\n".join(lines)
    lines += [
        f"landed      {landed['rows']:,} events on {landed['days']} days, {landed['first_day']} to"
        f" {landed['last_day']}; {landed['items']:,} items, {landed['customers']:,} customers",
        f"quarantined {landed['quarantined'] + landed['undated']:,} rows,"
        f" {landed['duplicates']:,} duplicates" + _reasons(landed["reasons"]),
        "published   "
        + (
            f"until {published['data_until']}, version {published['version']}" if published else "nothing yet"
        ),
        f"to rebuild  {len(found['dirty_days'])} days"
        + ("" if found["complete"] else "; the last run did not finish: run it again"),
    ]
    lines += [f"features    {name:<18} until {until or 'never'}" for name, until in found["features"].items()]
    for kind, champion in found["champions"].items():
        text = f"version {champion['version']}{_figures(champion['metrics'])}" if champion else "none yet"
        lines.append(f"champion    {kind:<18} {text}")
    lines.append(
        "release     "
        + (f"{release['release_id']}, data until {release['data_until']}" if release else "none yet")
    )
    return "\n".join(lines)


def describe_run(result: RunResult, home: Home) -> str:
    """What a run did, in a few lines."""
    landed = result.landed
    lines = [
        f"landed {landed['rows']:,} events on {landed['days']} days ({landed['changed_days']} changed), "
        f"{landed['quarantined']:,} quarantined, {landed['duplicates']:,} duplicates"
    ]
    if landed["erased"]:
        lines.append(f"refused {landed['erased']:,} rows of people who were erased")
    if landed["expired"]:
        lines.append(f"left out {landed['expired']:,} rows that are older than they are kept")
    lines += [f"warning: {text}" for text in result.warnings]
    if result.nothing_new:
        lines.append(f"Nothing new: release {result.release_id} is up to date ({result.seconds:.1f} s).")
        return "\n".join(lines)
    lines += [f"{kind}: {verdict}" for kind, verdict in model_verdicts(result).items()]
    lines.append(f"Release {result.release_id} is current ({result.seconds:.0f} s). Next: attune serve")
    return "\n".join(lines)


def model_verdicts(result: RunResult) -> dict[str, str]:
    """Kind -> what the gate said of the model that this run trained."""
    return {
        kind: str(result.assets[f"models/{kind}"].get("verdict", ""))
        for kind in KINDS
        if f"models/{kind}" in result.assets
    }


def _feature_views(settings: Settings) -> dict[str, str | None]:
    if not settings.home.registry_db.exists():
        return {}
    from feature_repo.store import materialized_until, open_store

    found = materialized_until(open_store(settings.home, settings.redis_url))
    return {name: None if until is None else until.isoformat() for name, until in found.items()}


def _champions(settings: Settings) -> dict[str, dict[str, Any] | None]:
    is_server = not settings.mlflow_tracking_uri.startswith("sqlite:")
    if not is_server and not settings.home.mlflow_db.exists():
        return dict.fromkeys(KINDS)
    from orchestration.resources import Models

    registry = Models(settings).open()
    champions = {kind: registry.champion(kind) for kind in KINDS}
    return {
        kind: None if version is None else {"version": version.version, "metrics": version.metrics}
        for kind, version in champions.items()
    }


def _release(home: Home) -> dict[str, Any] | None:
    from training.artifacts import current_release_id, read_manifest

    release_id = current_release_id(home.current_release)
    if release_id is None:
        return None
    manifest = read_manifest(home.release(release_id))
    return {
        "release_id": release_id,
        "data_until": manifest.data_until.isoformat(),
        "created_at": manifest.created_at.isoformat(),
        "models": manifest.models,
        "rows": manifest.rows,
    }


def _texts(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in values.items()
    }


def _reasons(reasons: Mapping[str, int]) -> str:
    top = ", ".join(f"{name} {count:,}" for name, count in list(reasons.items())[:5])
    return f" ({top})" if top else ""


def _figures(metrics: Mapping[str, float]) -> str:
    own = {name: value for name, value in metrics.items() if not name.endswith(("_low", "_high"))}
    shown = [f"{name} {value:.3f}" for name, value in list(own.items())[:4]]
    return f": {', '.join(shown)}" if shown else ""
