"""The contract of marketing spend: what was paid for which channel on which day.

A source may offer it; `feature_repo.validation.validate_marketing_spend` turns raw frames into this schema.
Acquisition cost and return by channel rest on it; without it they are not known.
"""

from __future__ import annotations

import pyarrow as pa

SPEND_SCHEMA = pa.schema(
    [
        pa.field("day", pa.date32(), nullable=False),
        pa.field("channel", pa.string(), nullable=False),
        pa.field("campaign_id", pa.string()),
        pa.field("amount", pa.float64(), nullable=False),
    ]
)
"""One row per payment: the UTC day it was for, the channel in the words of touchpoints (search, social,
email, ...), the campaign if there is one, and the amount in the shop's currency, not negative."""
