"""Customers: created and changed by the shop's application, known to the next batch.

Somebody whom only the batch knows is a customer as well: a change makes the row that is missing.
"""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import sqlalchemy as sa

from feature_repo.erasure import SALT, ensure_salt, subject_hash
from feature_repo.event_log import tombstones as tombstone_table
from serving.errors import CustomerErased, CustomerExists, InvalidField, UnknownCustomer
from serving.features import FeatureReader
from serving.people.tombstones import Tombstones
from serving.store.customers import (
    PERSONAL,
    addresses_of,
    customer_of,
    insert_addresses,
    insert_customer,
    update_customer,
)
from serving.store.database import Database
from serving.values import instant_text

MAX_ADDRESSES = 50
BEHAVIOUR, KNOWN_BY = "user_behavior", ("feature_at",)


class Customers:
    """Reads and changes customers. One instance a process."""

    def __init__(self, database: Database, tombstones: Tombstones, reader: FeatureReader) -> None:
        self._database = database
        self._tombstones = tombstones
        self._reader = reader

    async def create(self, user_id: str, fields: Mapping[str, Any], may_readmit: bool) -> dict[str, Any]:
        """A new customer. Raises `CustomerExists`; `CustomerErased` for an id that was erased.

        `may_readmit`: an operator may admit an erased id again once no file holds the former person.
        """
        row = _new_row(user_id, fields)
        readmits = self._tombstones.is_erased(user_id)
        if readmits and not may_readmit:
            raise CustomerErased(user_id)

        def change(connection: sa.Connection) -> None:
            if readmits:
                _take_away_tombstone(connection, user_id)
            if customer_of(connection, user_id) is not None:
                raise CustomerExists(user_id)
            insert_customer(connection, row)

        try:
            await self._database.write(change)
        except sa.exc.IntegrityError:  # another worker was first
            raise CustomerExists(user_id) from None
        if readmits:
            await self._tombstones.follow()
        return described(row, [])

    async def update(self, user_id: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Change what is named and keep the rest; null takes a value away. Raises `UnknownCustomer`."""
        await self._check_known(user_id)

        def change(connection: sa.Connection) -> tuple[dict[str, Any], list[dict[str, Any]]]:
            stored = customer_of(connection, user_id)
            row = _merged(stored or _new_row(user_id, {}), fields)
            if stored is None:
                insert_customer(connection, row)
            else:
                update_customer(connection, row)
            return row, addresses_of(connection, user_id)

        try:
            row, addresses = await self._database.write(change)
        except sa.exc.IntegrityError:  # another worker made the row meanwhile: now it is there to change
            row, addresses = await self._database.write(change)
        return described(row, addresses)

    async def add_addresses(self, user_id: str, addresses: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Add addresses; raises `UnknownCustomer`, and `InvalidField` beyond `MAX_ADDRESSES`."""
        await self._check_known(user_id)

        def change(connection: sa.Connection) -> list[dict[str, Any]]:
            insert_addresses(connection, user_id, addresses, time.time_ns() // 1000)
            known = addresses_of(connection, user_id)
            if len(known) > MAX_ADDRESSES:
                raise InvalidField("addresses", len(known), f"a customer has at most {MAX_ADDRESSES}")
            return known

        known = await self._database.write(change)
        return {"customer_id": user_id, "addresses": known}

    async def read(self, user_id: str) -> dict[str, Any]:
        """A customer with addresses; raises `UnknownCustomer` if neither we nor the batch know it."""
        row, addresses = await self._database.read(partial(_read, user_id=user_id))
        if row is None and not await self._is_in_batch(user_id):
            raise UnknownCustomer(user_id)
        return described(row or {**_new_row(user_id, {}), "created_at": None, "updated_at": None}, addresses)

    async def _check_known(self, user_id: str) -> None:
        if self._tombstones.is_erased(user_id):
            raise UnknownCustomer(user_id)
        stored = await self._database.read(partial(customer_of, user_id=user_id))
        if stored is None and not await self._is_in_batch(user_id):
            raise UnknownCustomer(user_id)

    async def _is_in_batch(self, user_id: str) -> bool:
        """Whether the batch knows this customer; a silent online store is believed to."""
        if self._tombstones.is_erased(user_id):
            return False
        reading = await self._reader.read(BEHAVIOUR, (user_id,), KNOWN_BY)
        return reading.failure is not None or reading.rows[0] is not None


def described(row: Mapping[str, Any], addresses: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A customer as the API shows it."""
    attributes = dict(row["attributes"])
    return {
        "customer_id": row["user_id"],
        **{name: row.get(name) for name in PERSONAL},
        "segment": attributes.pop("segment", None),
        "preferences": attributes.pop("preferences", {}),
        "attributes": attributes,
        "addresses": [dict(address) for address in addresses],
        "created_at": instant_text(row["created_at"]),
        "updated_at": instant_text(row["updated_at"]),
    }


def _read(connection: sa.Connection, user_id: str) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    return customer_of(connection, user_id), addresses_of(connection, user_id)


def _new_row(user_id: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    now = time.time_ns() // 1000
    row = {"user_id": user_id, "created_at": now, "updated_at": now, "attributes": {}}
    return _merged({**row, **dict.fromkeys(PERSONAL)}, fields)


def _merged(row: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """The row with these fields changed; objects are merged, and null takes a value away."""
    attributes = dict(row["attributes"])
    if "segment" in fields:
        attributes["segment"] = fields["segment"]
    if "preferences" in fields:
        preferences = attributes.get("preferences", {}) | dict(fields["preferences"] or {})
        attributes["preferences"] = _without_nulls(preferences) if fields["preferences"] is not None else None
    attributes |= dict(fields.get("attributes") or {})
    changed = {name: fields[name] for name in PERSONAL if name in fields}
    return {
        **row,
        **changed,
        "attributes": _without_nulls(attributes),
        "updated_at": time.time_ns() // 1000,
    }


def _without_nulls(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _take_away_tombstone(connection: sa.Connection, user_id: str) -> None:
    """Admit an id again; raises `CustomerErased` while files may still hold the former person."""
    hashed = subject_hash(ensure_salt(connection, SALT), user_id)
    completed = connection.execute(
        sa.delete(tombstone_table).where(
            tombstone_table.c.subject_hash == hashed, tombstone_table.c.completed_at.is_not(None)
        )
    )
    if not completed.rowcount:
        raise CustomerErased(user_id, is_complete=False)
