"""When messages are opened: counts by channel, value segment and hour of the day (UTC), for a release.

    message_hours.parquet    channel, segment (null for everybody), hour, opens

No row tells of one person: a segment with fewer than `LEAST_VISITORS` readers is left out.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa

MESSAGE_HOURS = "message_hours"
HISTORY_DAYS = 180
LEAST_VISITORS = 20
SCHEMA = pa.schema(
    [("channel", pa.string()), ("segment", pa.string()), ("hour", pa.int64()), ("opens", pa.int64())]
)
_OPENED = """
select case event_type when 'push_open' then 'push' when 'sms_click' then 'sms' else 'email' end as channel,
       segments.segment, hour(event_at) as hour, user_id
from read_parquet($files, hive_partitioning = false) left join segments using (user_id)
where event_type in ('email_open', 'email_click', 'push_open', 'sms_click')
  and event_at >= $since and event_at < $until
"""
_COUNTED = """
with readers as (
    select channel, segment, count(distinct user_id) as readers
    from opened where segment is not null group by all
)
select channel, cast(null as varchar) as segment, hour, count(*) as opens from opened group by all
union all
select channel, segment, hour, count(*) as opens from opened join readers using (channel, segment)
where readers >= $least group by all
order by channel, segment nulls first, hour
"""


def message_hours(
    event_files: Sequence[Path], segments: Mapping[str, str], as_of: datetime
) -> dict[str, pa.Table]:
    """The table by its name, or nothing where no message was opened. `segments`: user -> value segment."""
    if not event_files:
        return {}
    with duckdb.connect() as database:
        database.execute("set TimeZone = 'UTC'")
        columns = {"user_id": list(segments), "segment": list(segments.values())}
        database.register(
            "segments", pa.table(columns, schema=pa.schema({"user_id": pa.string(), "segment": pa.string()}))
        )
        parameters = {
            "files": [str(path) for path in event_files],
            "since": as_of - timedelta(days=HISTORY_DAYS),
            "until": as_of,
        }
        database.execute(f"create temp table opened as {_OPENED}", parameters)
        table = database.execute(_COUNTED, {"least": LEAST_VISITORS}).to_arrow_table().cast(SCHEMA)
    return {MESSAGE_HOURS: table} if table.num_rows else {}
