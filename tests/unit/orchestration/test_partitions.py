"""Days, ranges of days, and the partitions that Dagster knows."""

from datetime import UTC, date, datetime

import dagster as dg

from orchestration.partitions import as_days, between, daily, describe


def test_partitions_begin_with_the_first_day_and_are_utc_days() -> None:
    wanted = dg.PartitionKeyRange("2024-02-28", "2024-03-01")
    keys = daily(date(2024, 2, 28)).get_partition_keys_in_range(wanted)
    assert list(keys) == ["2024-02-28", "2024-02-29", "2024-03-01"]


def test_a_day_before_the_first_has_no_partition() -> None:
    assert not daily(date(2024, 1, 2)).has_partition_key("2024-01-01")


def test_keys_become_days_in_order() -> None:
    assert as_days(["2024-03-01", "2024-02-29"]) == [date(2024, 2, 29), date(2024, 3, 1)]


def test_days_are_described_by_their_ends() -> None:
    assert describe([]) == "no days"
    assert describe([date(2024, 1, 1)]) == "2024-01-01"
    assert describe([date(2024, 1, 1), date(2024, 1, 2)]) == "2024-01-01 to 2024-01-02 (2 days)"


def test_the_partitions_of_one_run_are_the_same_and_no_others() -> None:
    first, last = date(2024, 2, 28), date(2024, 3, 1)
    assert between(first, last).get_partition_keys() == ["2024-02-28", "2024-02-29", "2024-03-01"]


def test_the_present_day_is_one_of_them() -> None:
    today = datetime.now(UTC).date()
    assert between(today, today).get_partition_keys() == [today.isoformat()]
