"""How long data is kept: days by event type, and for what else holds people's acts. The policy, not its use.

Age is counted back from the last landed day, never from the clock: time is data, so a history of ten years
ago is kept like a live one. `read_retention` reads a YAML file over the defaults below:

    events: {default: 1095, page_view: 400, purchase: forever}
    quarantine: 400
    log: 35
    decisions: 35
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from feature_repo.events import UnknownEventType, canonical_event_type
from orchestration.errors import SettingsError, one_line

FOREVER = "forever"
DEFAULT = "default"
SECTIONS = ("events", "quarantine", "log", "decisions")
Days = int | None


@dataclass(frozen=True)
class Retention:
    """Days that something is kept; None is for ever.

    `by_type` goes before `events`. `log` and `decisions` are rows of the operational store, counted once they
    are landed: until then they stay whatever their age.
    """

    events: Days = None
    by_type: Mapping[str, Days] = field(default_factory=dict)
    quarantine: Days = None
    log: Days = None
    decisions: Days = None

    def expired_types(self, age_days: int) -> tuple[bool, list[str]]:
        """Whether a type that is not named is too old by then, and the named ones that differ from that."""
        rest = _is_over(self.events, age_days)
        return rest, sorted(name for name, days in self.by_type.items() if _is_over(days, age_days) != rest)

    def keeps_quarantine(self, day: date, last_day: date | None) -> bool:
        """Whether refused rows of a day are kept, seen from the last landed day."""
        return last_day is None or not _is_over(self.quarantine, (last_day - day).days)

    def kept(self, events: pa.Table, day: date, last_day: date | None) -> pa.Table:
        """The events of a day that are not too old, seen from the last landed day."""
        if last_day is None or events.num_rows == 0:
            return events
        rest, others = self.expired_types((last_day - day).days)
        if not rest and not others:
            return events
        is_other = pc.is_in(events["event_type"], pa.array(others, pa.string()))
        return events.filter(is_other if rest else pc.invert(is_other))


KEEP_ALL = Retention()
DEFAULTS = Retention(
    events=1095,
    by_type=dict.fromkeys(
        ("recommendation_served", "offer_served", "experience_served", "scroll", "device_signal"), 400
    ),
    quarantine=400,
    log=35,
    decisions=35,
)
"""Three years of what customers did; thirteen months of what the shop showed and what machines reported."""


def read_retention(path: Path | None) -> Retention:
    """The defaults, changed by the file; raises SettingsError that names the file and the entry."""
    if path is None:
        return DEFAULTS
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"ATTUNE_RETENTION={str(path)!r} cannot be read: {one_line(error)}") from error
    if not isinstance(content, dict) or not set(content) <= set(SECTIONS):
        raise SettingsError(f"{path}: a retention file has the entries {', '.join(SECTIONS)} and no other.")
    events = content.get("events", {})
    if not isinstance(events, dict):
        raise SettingsError(
            f"{path}: events={events!r} cannot be used: give days by event type, or `default`."
        )
    by_type = dict(DEFAULTS.by_type)
    rest = DEFAULTS.events
    for name, value in events.items():
        if name == DEFAULT:
            rest = _days(path, "events.default", value)
        else:
            by_type[_event_type(path, name)] = _days(path, f"events.{name}", value)
    others = {
        section: _days(path, section, content[section]) if section in content else getattr(DEFAULTS, section)
        for section in SECTIONS[1:]
    }
    return Retention(rest, by_type, **others)


def _is_over(days: Days, age_days: int) -> bool:
    return days is not None and age_days > days


def _event_type(path: Path, name: object) -> str:
    try:
        return canonical_event_type(str(name))
    except UnknownEventType as error:
        raise SettingsError(f"{path}: events.{name}: {error}") from error


def _days(path: Path, entry: str, value: Any) -> Days:
    if value == FOREVER:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise SettingsError(f"{path}: {entry}={value!r} cannot be used: use days from 1 on, or {FOREVER}.")
    return int(value)
