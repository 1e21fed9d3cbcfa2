"""What features belong to, and the keys that join them. Ids are always str: see `store.OnlineReader`."""

from __future__ import annotations

from feast import Entity
from feast.value_type import ValueType

OWNER = "data-platform@attune.invalid"

USER_ID = "user_id"
ITEM_ID = "item_id"

user = Entity(
    name="user",
    join_keys=[USER_ID],
    value_type=ValueType.STRING,
    description="A known customer of the shop. Guests have no id and no features.",
    owner=OWNER,
)

item = Entity(
    name="item",
    join_keys=[ITEM_ID],
    value_type=ValueType.STRING,
    description="Something the shop sells.",
    owner=OWNER,
)
