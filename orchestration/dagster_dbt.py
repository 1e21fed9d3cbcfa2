"""dagster-dbt without dbt-core, of which it takes names of statuses; it has its own where there is none.

dbt runs in a process of its own here. To import it into this one as well takes a second of every run.
"""

import sys

_DBT_CORE = "dbt.version"

# What is None among the modules cannot be imported; dagster-dbt takes that for "not installed".
_present = sys.modules.pop(_DBT_CORE, None)
sys.modules[_DBT_CORE] = None  # type: ignore[assignment]
try:
    from dagster_dbt import (
        DagsterDbtTranslator,
        DagsterDbtTranslatorSettings,
        DbtCliResource,
        dbt_assets,
    )
finally:
    del sys.modules[_DBT_CORE]
    if _present is not None:
        sys.modules[_DBT_CORE] = _present

__all__ = ["DagsterDbtTranslator", "DagsterDbtTranslatorSettings", "DbtCliResource", "dbt_assets"]
