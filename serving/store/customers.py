"""Customers as an application creates them, and their addresses; what the next batch reads of them too."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import sqlalchemy as sa

from feature_repo.event_log import Sequence as CountedUp
from feature_repo.event_log import metadata

customers = sa.Table(
    "customers",
    metadata,
    sa.Column("user_id", sa.Text, primary_key=True),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("updated_at", sa.BigInteger, nullable=False),
    sa.Column("name", sa.Text),
    sa.Column("email", sa.Text),
    sa.Column("age", sa.Integer),
    sa.Column("gender", sa.Text),
    sa.Column("location", sa.Text),
    sa.Column("attributes", sa.Text, nullable=False),
)
"""`attributes`: a JSON object of segment, preferences and whatever else the shop knows. A run lands user_id,
created_at, age, gender, location and attributes; the name and the e-mail address stay here."""

customer_addresses = sa.Table(
    "customer_addresses",
    metadata,
    sa.Column("sequence", CountedUp, primary_key=True, autoincrement=True),
    sa.Column("user_id", sa.Text, nullable=False, index=True),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("line1", sa.Text, nullable=False),
    sa.Column("line2", sa.Text),
    sa.Column("city", sa.Text, nullable=False),
    sa.Column("region", sa.Text),
    sa.Column("postal_code", sa.Text),
    sa.Column("country", sa.Text, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sqlite_autoincrement=True,
)
"""Shipping and billing addresses; the latest of a type is the one to use."""

PERSONAL = ("name", "email", "age", "gender", "location")
ADDRESS_FIELDS = ("type", "line1", "line2", "city", "region", "postal_code", "country")

Row = dict[str, Any]


def customer_of(connection: sa.Connection, user_id: str) -> Row | None:
    """One customer, attributes as an object; None if nobody created it."""
    row = connection.execute(sa.select(customers).where(customers.c.user_id == user_id)).one_or_none()
    if row is None:
        return None
    # Column names are a subclass of str, which the JSON writer does not take for keys.
    found = {str(name): value for name, value in row._mapping.items()}
    return {**found, "attributes": orjson.loads(row.attributes)}


def insert_customer(connection: sa.Connection, row: Mapping[str, Any]) -> None:
    """Add a customer; raises `IntegrityError` if there is one of this id."""
    connection.execute(sa.insert(customers).values(_stored(row)))


def update_customer(connection: sa.Connection, row: Mapping[str, Any]) -> None:
    """Write all fields of a customer that exists."""
    connection.execute(sa.update(customers).where(customers.c.user_id == row["user_id"]).values(_stored(row)))


def addresses_of(connection: sa.Connection, user_id: str) -> list[Row]:
    """The addresses of one customer, in the order they were added."""
    columns = [customer_addresses.c[name] for name in ADDRESS_FIELDS]
    query = sa.select(*columns).where(customer_addresses.c.user_id == user_id)
    rows = connection.execute(query.order_by(customer_addresses.c.sequence))
    return [dict(zip(ADDRESS_FIELDS, row, strict=True)) for row in rows]


def insert_addresses(
    connection: sa.Connection, user_id: str, addresses: Sequence[Mapping[str, Any]], created_at: int
) -> None:
    """Add addresses; one that is there already, word for word, is not added again."""
    known = addresses_of(connection, user_id)
    for address in addresses:
        row = {name: address.get(name) for name in ADDRESS_FIELDS}
        if row not in known:
            known.append(row)
            connection.execute(
                sa.insert(customer_addresses).values(user_id=user_id, created_at=created_at, **row)
            )


def _stored(row: Mapping[str, Any]) -> Row:
    return {**row, "attributes": orjson.dumps(row["attributes"], option=orjson.OPT_SORT_KEYS).decode()}
