"""Results of campaigns from their arms: days whose week is over, shares as the plans said."""

from datetime import date
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.layout import Home
from orchestration.analysing import campaign_results, planned_share
from orchestration.campaign_arms import ARM_COLUMNS

SUMS = ("event_date", "campaign_id", "channel", "arm", "buyer_count", *ARM_COLUMNS)


def put(path: Path, rows: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def sums(day: int, arm: str, users: int, buyers: int, campaign: str = "spring") -> dict[str, object]:
    values = (
        date(2026, 5, day),
        campaign,
        "email",
        arm,
        buyers,
        users,
        2.0 * buyers,
        4.0 * buyers,
        0.0,
        0.0,
        0.0,
    )
    return dict(zip(SUMS, values, strict=True))


def test_days_whose_week_is_over_are_added_up(tmp_path: Path) -> None:
    home = Home(tmp_path)
    days = [sums(day, arm, *counts) for day in (1, 2, 9) for arm, counts in ARMS.items()]
    rows = pd.DataFrame([*days, sums(1, "treated", 9, 1, "no-control")])
    put(home.campaign_run("spring", "2026-05-01"), [{"user_id": "a", "control_share": 0.25}])
    [found] = campaign_results(home, rows, date(2026, 5, 9)).to_pylist()
    assert (found["campaign_id"], found["first_date"], found["last_date"]) == (
        "spring", date(2026, 5, 1), date(2026, 5, 2)
    )  # fmt: skip
    assert (found["treated_users"], found["held_out_users"]) == (600, 200)
    assert (found["treated_conversion"], found["held_out_conversion"]) == (0.1, 0.05)
    assert found["is_ratio_as_planned"] is True


ARMS = {"treated": (300, 30), "held_out": (100, 5)}


def test_a_share_that_changed_or_is_of_nobody_is_not_known(tmp_path: Path) -> None:
    home = Home(tmp_path)
    put(home.campaign_run("spring", "2026-05-01"), [{"user_id": "a", "control_share": 0.25}])
    put(home.campaign_run("spring", "2026-05-02"), [{"user_id": "a", "control_share": 0.1}])
    assert planned_share(home, "spring") is planned_share(home, "other") is None
    assert planned_share(home, "../../etc") is None
