"""One look at everything that is watched: judge, renew the ledger, tell people what is new."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from orchestration.monitoring.alerts import (
    Alert,
    Watched,
    read_ledger,
    renew,
    watch,
    write_ledger,
)
from orchestration.monitoring.delivery import deliver, is_configured
from orchestration.monitoring.series import FAMILIES, Family, watched_series
from orchestration.settings import Settings


@dataclass(frozen=True)
class Look:
    """What a look found: every figure as judged, the ledger after it, and what could not be delivered."""

    watched: Sequence[Watched]
    ledger: Sequence[Alert]
    undelivered: Sequence[str]

    def open_alerts(self, family: Family) -> list[Alert]:
        """What is unusual now in one family."""
        return [alert for alert in self.ledger if alert.is_open and alert.family == family]

    def judged(self, family: Family) -> list[Watched]:
        """The figures of one family whose history is long enough."""
        return [one for one in self.watched if one.figure.family == family and one.days]


def look(settings: Settings, today: date) -> Look:
    """Judge the days before `today`, which is not over; an alert that nobody could be told stays untold."""
    home = settings.home
    found = watch(watched_series(home, today - timedelta(days=1)))
    ledger = renew(read_ledger(home), found)
    news = [alert for alert in ledger if alert.is_news]
    problems: list[str] = []
    if news and is_configured(settings):
        problems = deliver(settings, _subject(news), [_line(alert) for alert in news])
        if not problems:
            told = {id(alert) for alert in news}
            ledger = [alert.told() if id(alert) in told else alert for alert in ledger]
    write_ledger(home, ledger)
    return Look(found, ledger, problems)


def _subject(news: Sequence[Alert]) -> str:
    opened = [alert for alert in news if alert.is_open]
    families = [family for family in FAMILIES if any(alert.family == family for alert in opened)]
    if not opened:
        return f"Attune: {len(news)} figures are usual again"
    return f"Attune: {len(opened)} unusual figures ({', '.join(families)})"


def _line(alert: Alert) -> str:
    if alert.is_open:
        return alert.text
    name, _, side = alert.key.partition(":")
    return f"{name} is usual again; it was {side} from {alert.since} to {alert.until}."
