"""Hours of opened messages: counted by channel and segment, no small group shown."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.events import EVENT_SCHEMA
from training.message_hours import LEAST_VISITORS, MESSAGE_HOURS, message_hours

AS_OF = datetime(2024, 2, 1, tzinfo=UTC)


def opened(path: Path, readers: int, event_type: str = "email_open") -> Path:
    """Each reader opens a message at 10 o'clock."""
    at = AS_OF - timedelta(days=1, hours=14)
    rows = [
        {"event_id": f"e{n}", "event_type": event_type, "user_id": f"u{n}", "event_at": at, "received_at": at}
        for n in range(readers)
    ]
    columns = {name: [row.get(name, "email" if name == "channel" else None) for row in rows]
               for name in EVENT_SCHEMA.names}  # fmt: skip
    pq.write_table(pa.table(columns, schema=EVENT_SCHEMA), path)
    return path


def test_opened_messages_are_counted_by_hour_channel_and_segment(tmp_path: Path) -> None:
    days = [opened(tmp_path / "a.parquet", LEAST_VISITORS), opened(tmp_path / "b.parquet", 3, "push_open")]
    segments = {f"u{n}": "high" for n in range(LEAST_VISITORS)}
    rows = message_hours(days, segments, AS_OF)[MESSAGE_HOURS].to_pylist()
    found = {(row["channel"], row["segment"], row["hour"]): row["opens"] for row in rows}
    # Three readers of push messages are too few to show their segment's hours.
    assert found == {
        ("email", None, 10): LEAST_VISITORS,
        ("email", "high", 10): LEAST_VISITORS,
        ("push", None, 10): 3,
    }


def test_without_opened_messages_there_is_no_table(tmp_path: Path) -> None:
    assert message_hours([], {}, AS_OF) == {}
    assert message_hours([opened(tmp_path / "a.parquet", 4, "login")], {}, AS_OF) == {}
