"""What a person wants: language, currency, theme; which messages; how private.

The first three are stored here. Messages and privacy are consent: they are read from the consent book and
written to its ledger, so that there is one truth about what is allowed.
"""

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import sqlalchemy as sa

from serving.people.consent import CHANNELS, PERSONALIZATION, TRACKING, Change, ConsentBook, ledger_rows
from serving.store.consent import append_entries
from serving.store.database import Database
from serving.store.preferences import DISPLAY_FIELDS, delete_display, display_of, save_display

SOURCE = "preferences"
DEFAULTS: Mapping[str, str] = {"language": "en", "currency": "USD", "theme": "dark"}
# What the documents call it -> the purpose in the ledger.
PRIVACY = {"tracking_enabled": TRACKING, "personalized_ads": PERSONALIZATION}


class Preferences:
    """Reads and changes preferences. One instance a process."""

    def __init__(self, database: Database, consent: ConsentBook) -> None:
        self._database = database
        self._consent = consent

    async def read(self, user_id: str) -> dict[str, Any]:
        """All preferences of one user; what was never set is a default."""
        stored = await self._database.read(partial(display_of, user_id=user_id))
        return self._described(user_id, stored or DEFAULTS)

    async def update(self, user_id: str, patch: Mapping[str, Any], display: bool = True) -> dict[str, Any]:
        """Change what the patch names and keep the rest.

        `display=False` leaves language, currency and theme alone: the preference center is switched off.
        Raises `OptOutRefused` for a switch that ALLOW_OPT_OUT=false keeps on.
        """
        changes = self._consent_changes(user_id, patch)
        self._consent.check(changes)
        shown = {name: patch[name] for name in DISPLAY_FIELDS if display and name in patch}
        rows = ledger_rows(user_id, changes)

        def change(connection: sa.Connection) -> dict[str, str]:
            stored = display_of(connection, user_id)
            merged = {**DEFAULTS, **(stored or {}), **shown}
            if shown:
                save_display(connection, user_id, merged, time.time_ns() // 1000)
            if rows:
                append_entries(connection, rows)
            return merged

        merged = await self._database.write(change)
        if rows:
            await self._consent.caught_up()
        return self._described(user_id, merged)

    async def reset(self, user_id: str, display: bool = True) -> dict[str, Any]:
        """Back to the defaults. What the user revoked stays revoked: a default is no consent.

        Messages that the user asked for end, unless they are allowed by default.
        """
        state = self._consent.state(user_id)
        policy = self._consent.policy
        ended = [each for each in CHANNELS if state[each] and not policy.default(each)]
        ended = ended if policy.allows_opt_out else []
        rows = ledger_rows(user_id, [Change(each, False, "reset") for each in ended])

        def change(connection: sa.Connection) -> None:
            if display:
                delete_display(connection, user_id)
            if rows:
                append_entries(connection, rows)

        await self._database.write(change)
        if rows:
            await self._consent.caught_up()
        return await self.read(user_id)

    def _consent_changes(self, user_id: str, patch: Mapping[str, Any]) -> list[Change]:
        """What the patch changes of what is allowed now."""
        state = self._consent.state(user_id)
        wanted = dict(patch.get("notifications") or {})
        wanted |= {PRIVACY[name]: value for name, value in (patch.get("privacy") or {}).items()}
        return [
            Change(purpose, value, SOURCE) for purpose, value in wanted.items() if state[purpose] != value
        ]

    def _described(self, user_id: str, display: Mapping[str, str]) -> dict[str, Any]:
        state = self._consent.state(user_id)
        return {
            "user_id": user_id,
            **{name: display[name] for name in DISPLAY_FIELDS},
            "notifications": {channel: state[channel] for channel in CHANNELS},
            "privacy": {name: state[purpose] for name, purpose in PRIVACY.items()},
        }
