"""What the marts say of their numbers: every expression can be computed from the columns of its table."""

from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from orchestration.analysing import CREDIT_SCHEMA, EFFECTS_SCHEMA, RESULTS_SCHEMA
from orchestration.figures import read_figures
from orchestration.marts import TRANSFORMS

FIGURES = read_figures(TRANSFORMS)
UNITS = {
    "currency", "orders", "users", "sessions", "events", "units", "items", "seconds", "share", "ratio",
    "answers", "places", "bundles", "messages", "visits", "steps",
}  # fmt: skip


@pytest.fixture(scope="module")
def tables() -> duckdb.DuckDBPyConnection:
    """Every mart as an empty table with its contract's columns, and those of the analyses."""
    connection = duckdb.connect()
    for path in sorted((TRANSFORMS / "models" / "marts").glob("*.yml")):
        [model] = yaml.safe_load(path.read_text(encoding="utf-8"))["models"]
        columns = [f"{each['name']} {_sql_type(each['data_type'])}" for each in model["columns"]]
        connection.execute(f"create table {model['name']} ({', '.join(columns)})")
    schemas = {"channel_credit": CREDIT_SCHEMA, "campaign_effects": EFFECTS_SCHEMA}
    for name, schema in (schemas | {"campaign_results": RESULTS_SCHEMA}).items():
        connection.register(name, schema.empty_table())
    return connection


def _sql_type(declared: str) -> str:
    return {"string": "varchar", "{{ var('instant_type') }}": "timestamptz"}.get(
        declared, "varchar[]" if "{{" in declared else declared
    )


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_can_be_computed_and_says_what_it_is(tables: duckdb.DuckDBPyConnection, name: str) -> None:
    figure = FIGURES[name]
    assert figure["unit"] in UNITS and figure["definition"].endswith("."), figure
    if "ratio_of" in figure:
        assert all("ratio_of" not in FIGURES[part] for part in figure["ratio_of"])
        return
    source = figure.get("table", figure["mart"])
    values: dict[str, Any] = {
        bound: "2024-05-01" for bound in ("first", "last", "before") if f"${bound}" in figure["expression"]
    }
    sql = f"select {figure['expression']} as value from {source}"
    for bound in values:
        sql = sql.replace(f"${bound}", f"cast(${bound} as date)")
    assert len(tables.execute(sql, values).fetchall()) == 1
    columns = {row[0] for row in tables.execute(f"describe {source}").fetchall()}
    dimensions = set(figure.get("dimensions", ())) - {"all"}
    assert source == "metrics_daily" or dimensions <= columns, "a dimension is a column"
    assert figure["day"] is None or figure["day"] in columns


def test_two_marts_may_not_name_one_figure(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "marts"
    folder.mkdir(parents=True)
    for mart in ("a", "b"):
        text = f"models: [{{name: {mart}, config: {{meta: {{figures: {{revenue: {{unit: x}}}}}}}}}}]"
        (folder / f"{mart}.yml").write_text(text)
    with pytest.raises(ValueError, match="'revenue' stands in a and in b"):
        read_figures(tmp_path)
