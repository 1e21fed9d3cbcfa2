"""One look at everything that is watched: judge, renew the ledger, tell people what is new."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from orchestration.drift_reports import DriftReport
from orchestration.monitoring.alerts import (
    Alert,
    Watched,
    read_ledger,
    renew,
    renew_drift,
    watch,
    write_ledger,
)
from orchestration.monitoring.delivery import deliver, is_configured
from orchestration.monitoring.series import Family, watched_series
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
    found = watch(watched_series(settings.home, today - timedelta(days=1)))
    ledger, problems = _tell(settings, renew(read_ledger(settings.home), found))
    return Look(found, ledger, problems)


def look_at_drift(settings: Settings, report: DriftReport) -> list[str]:
    """Renew the alerts about models after a comparison with training; what could not be delivered."""
    return _tell(settings, renew_drift(read_ledger(settings.home), report))[1]


def _tell(settings: Settings, ledger: list[Alert]) -> tuple[list[Alert], list[str]]:
    """The ledger, kept, after people were told what is new; and what could not be delivered."""
    news = [alert for alert in ledger if alert.is_news]
    problems: list[str] = []
    if news and is_configured(settings):
        problems = deliver(settings, _subject(news), [_line(alert) for alert in news])
        if not problems:
            told = {id(alert) for alert in news}
            ledger = [alert.told() if id(alert) in told else alert for alert in ledger]
    write_ledger(settings.home, ledger)
    return ledger, problems


def _subject(news: Sequence[Alert]) -> str:
    opened = [alert for alert in news if alert.is_open]
    families = sorted({alert.family for alert in opened})
    if not opened:
        return f"Attune: {len(news)} figures are usual again"
    return f"Attune: {len(opened)} unusual figures ({', '.join(families)})"


def _line(alert: Alert) -> str:
    if alert.is_open:
        return alert.text
    name, _, side = alert.key.partition(":")
    return f"{name} is usual again; it was {side} from {alert.since} to {alert.until}."
