"""The command `attune-dbt`: dbt on the days that a file of its target names, a seventh quicker.

The days reach dbt by its environment: a changed `--vars` would make it parse the whole project again (2 s).
"""

import gc
import os
from pathlib import Path

from orchestration.garbage import collect_rarely

WINDOW_FILE = "window.txt"  # under DBT_TARGET_PATH
WINDOW = "ATTUNE_WINDOW"


def main() -> None:
    """As `dbt` with the same arguments."""
    collect_rarely()
    gc.disable()  # looking for garbage, of which dbt makes little, takes a thirtieth of a day's run
    window = Path(os.environ.get("DBT_TARGET_PATH", "target"), WINDOW_FILE)
    if window.exists():
        os.environ[WINDOW] = window.read_text(encoding="utf-8")
    from dbt.cli.main import cli
    from dbt_common.events.event_manager_client import ctx_set_event_manager

    from orchestration.dbt_events import HeardEvents

    ctx_set_event_manager(HeardEvents())
    cli()


if __name__ == "__main__":
    main()
