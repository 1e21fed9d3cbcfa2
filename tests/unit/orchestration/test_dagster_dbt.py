"""dagster-dbt works without dbt-core in this process; the names of statuses it has then are dbt-core's."""

import subprocess
import sys


def printed(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_loading_the_assets_does_not_load_dbt() -> None:
    loaded = "[name for name in sys.modules if name.partition('.')[0] == 'dbt']"
    code = f"import sys, orchestration.assets.all; print({loaded})"
    assert printed(code) == "[]"


def test_dbt_can_be_loaded_afterwards() -> None:
    assert printed("import orchestration.dagster_dbt, dbt.version; print(dbt.version.installed)") != ""


def test_whoever_loaded_dbt_before_keeps_it() -> None:
    code = (
        "import sys, dbt.version as was, orchestration.dagster_dbt; print(sys.modules['dbt.version'] is was)"
    )
    assert printed(code) == "True"


def test_its_own_statuses_are_those_of_dbt() -> None:
    code = """
from orchestration import dagster_dbt
from dagster_dbt import compat
from dbt.contracts import results
from dbt import node_types
print(compat.DBT_PYTHON_VERSION, {str(s) for s in results.NodeStatus} - {str(s) for s in compat.NodeStatus},
      {str(s) for s in results.TestStatus} - {str(s) for s in compat.TestStatus},
      {str(s) for s in node_types.REFABLE_NODE_TYPES} - set(compat.REFABLE_NODE_TYPES))
"""
    assert printed(code) == "None set() set() set()"
