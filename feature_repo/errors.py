"""What can go wrong in the feature repository.

FeatureError
├── InvalidEntityId         an id is not text, or empty; it would silently match nothing
├── UnknownFeature          a view, service or field that the definitions do not have
├── MissingSource           the Parquet files behind a view are not there
├── WrongColumns            rows to publish lack a column of their view, or have one more
├── DuplicateRows           two published rows of one entity and instant
├── UnusableDatabase        DATABASE_URL names no database that can be used
├── MissingInput            a value that a derivation needs was not handed in
├── DeliveryError           a mail server or a webhook did not take what was sent
└── OnlineStoreUnavailable  the online store cannot be read or written
"""

from __future__ import annotations

from collections.abc import Iterable


class FeatureError(Exception):
    """Base of every error that the feature repository raises on purpose."""


class InvalidEntityId(FeatureError):
    """An id is not a non-empty str.

    Feast casts ids of another type in silence and finds nothing, so they are refused.
    """

    def __init__(self, key: str, value: object) -> None:
        super().__init__(
            f"{key}={value!r} ({type(value).__name__}) cannot be looked up: ids are non-empty str;"
            " convert it with str(...) where it enters"
        )
        self.key = key
        self.value = value


class UnknownFeature(FeatureError):
    """A name that the definitions do not have."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        super().__init__(f"{kind} {name!r} is not defined; defined are {', '.join(sorted(known))}")
        self.name = name


class MissingSource(FeatureError):
    """A view has no published Parquet files yet."""

    def __init__(self, view: str, pattern: str) -> None:
        super().__init__(
            f"feature view {view!r} has no data: no file matches {pattern};"
            " publish the marts or predictions first with `attune run`"
        )
        self.view = view


class WrongColumns(FeatureError):
    """Rows to publish do not have the columns of their view."""

    def __init__(self, view: str, expected: Iterable[str], found: Iterable[str]) -> None:
        wanted, got = set(expected), set(found)
        super().__init__(
            f"rows for feature view {view} lack {sorted(wanted - got) or 'nothing'} and have"
            f" {sorted(got - wanted) or 'nothing'} too much; hand in its key and fields, without feature_at"
        )


class DuplicateRows(FeatureError):
    """Two published rows of one entity at one instant: which of them is true cannot be known."""

    def __init__(self, view: str, entity_id: str | None = None) -> None:
        super().__init__(
            f"feature view {view} has more than one row of {entity_id or 'an entity'} at one feature_at;"
            " its files must hold each entity and instant once: publish them again"
        )


class MissingInput(FeatureError):
    """A derivation lacks a value."""

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__(
            f"derivation lacks {', '.join(sorted(names))}; read every field of `derived.DERIVED_INPUTS`"
        )


class OnlineStoreUnavailable(FeatureError):
    """The online store cannot be read or written now."""

    def __init__(self, store: str, problem: str) -> None:
        super().__init__(f"online store {store} is not available: {problem}")
        self.store = store


class UnusableDatabase(FeatureError):
    """An address of the operational store that names no database of a kind that is installed.

    `shown` is what of the address may be shown: neither user nor password nor options.
    """

    def __init__(self, shown: str) -> None:
        self.shown = shown
        self.remedy = "use postgresql://user:password@host:port/database, or sqlite:////path/to/file"
        super().__init__(f"DATABASE_URL={shown!r} cannot be used: {self.remedy}")


class DeliveryError(FeatureError):
    """What was sent outside was not taken; names the host, never an address or a secret."""
