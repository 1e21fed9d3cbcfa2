"""A two-stage plan as files: `plan.json`, and a `.ubj` for each booster of each order's ranker."""

import json
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, cast, get_type_hints

import xgboost

from training.errors import BrokenModel
from training.ranker import Ranker
from training.sources.habits import BuyAgainConfig, PopularityConfig, TrendingConfig
from training.sources.latent import AlsSourceConfig, SpectralConfig
from training.sources.linear import EaseConfig, GraphFilterConfig, ProfileConfig, TransitionsConfig
from training.sources.people import UserNeighboursConfig
from training.sources.portfolio import SourceConfig
from training.two_stage import Order, Plan, Scope

FORMAT_VERSION = 1
PLAN = "plan.json"
KINDS = {
    kind.__name__: kind
    for kind in (
        AlsSourceConfig,
        BuyAgainConfig,
        EaseConfig,
        GraphFilterConfig,
        PopularityConfig,
        SpectralConfig,
        TransitionsConfig,
        TrendingConfig,
        UserNeighboursConfig,
    )
}


def plan_values(plan: Plan) -> dict[str, Any]:
    """The plan as JSON values, without its trees; for logging and for its file."""
    return {
        "format_version": FORMAT_VERSION,
        "sources": [{"kind": type(one).__name__, **asdict(cast(Any, one))} for one in plan.sources],
        "exclude_taken": plan.exclude_taken,
        "repeat_share": plan.repeat_share,
        "per_source": plan.per_source,
        "further": list(plan.further),
        "orders": {scope: _order_values(order) for scope, order in plan.orders.items()},
    }


def write_plan(plan: Plan, directory: Path) -> None:
    """Write the plan's files into a directory that exists."""
    (directory / PLAN).write_text(json.dumps(plan_values(plan), indent=1), encoding="utf-8")
    for scope, order in plan.orders.items():
        for number, booster in enumerate(order.ranker.boosters if order.ranker else ()):
            booster.save_model(_booster_path(directory, scope, number))


def read_plan(directory: Path) -> Plan | None:
    """The inverse of `write_plan`; None where no plan was written, `BrokenModel` naming what is damaged."""
    path = directory / PLAN
    if not path.exists():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["format_version"] != FORMAT_VERSION:
            raise BrokenModel(path, f"has format_version {values['format_version']!r}, not {FORMAT_VERSION}")
        return Plan(
            tuple(map(_source, values["sources"])),
            bool(values["exclude_taken"]),
            float(values["repeat_share"]),
            int(values["per_source"]),
            {scope: _order(directory, scope, each) for scope, each in values["orders"].items()},
            tuple(map(str, values.get("further", ()))),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BrokenModel(path, f"cannot be read ({error!r})") from error


def _order_values(order: Order) -> dict[str, Any]:
    ranker = order.ranker
    return {
        "method": order.method,
        "single": order.single,
        "weights": dict(order.weights),
        "kept": order.kept,
        "validation": dict(order.validation),
        "features": list(ranker.names) if ranker else [],
        "boosters": len(ranker.boosters) if ranker else 0,
    }


def _order(directory: Path, scope: Scope, values: dict[str, Any]) -> Order:
    boosters = [_booster(_booster_path(directory, scope, number)) for number in range(values["boosters"])]
    return Order(
        values["method"],
        str(values["single"]),
        {str(name): float(weight) for name, weight in values["weights"].items()},
        int(values["kept"]),
        Ranker(tuple(values["features"]), tuple(boosters)) if boosters else None,
        {str(name): float(figure) for name, figure in values["validation"].items()},
    )


def _booster_path(directory: Path, scope: str, number: int) -> Path:
    return directory / f"ranker_{scope}_{number}.ubj"


def _booster(path: Path) -> xgboost.Booster:
    booster = xgboost.Booster()
    try:
        booster.load_model(path)
    except (xgboost.core.XGBoostError, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise BrokenModel(path, f"cannot be read as trees ({reason})") from error
    return booster


def _source(values: dict[str, Any]) -> SourceConfig:
    kind = KINDS[values["kind"]]
    hints = get_type_hints(kind)
    known = {field.name for field in fields(kind)}
    given = {name: value for name, value in values.items() if name in known}
    for name, value in given.items():
        if is_dataclass(hints[name]):
            given[name] = ProfileConfig(**value)
    return cast(SourceConfig, kind(**given))
