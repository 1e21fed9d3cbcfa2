"""Alerts: what is unusual, since when, how large, where to look; and the ledger of what is open.

The ledger is `monitoring/alerts.json` below the home. A figure that stays unusual is one alert, told once
when it opens and once when it is over. What could not be delivered is told with the next run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import Any

from feature_repo.layout import Home
from orchestration.completion import read_note, write_note
from orchestration.drift_reports import DriftReport
from orchestration.monitoring.baseline import Judged, judge_days
from orchestration.monitoring.series import Figure, Series
from training.drift import Reason, reasons

LEDGER = "alerts.json"
DRIFT = "drift"
"""The family of alerts about models; the others are those of watched figures."""
LOOK_BACK_DAYS = 14
KEPT_CLOSED = 200


@dataclass(frozen=True)
class Watched:
    """One figure with its last judged days, ascending; empty if its history is too short."""

    figure: Figure
    days: tuple[Judged, ...]

    @property
    def is_anomaly(self) -> bool:
        return bool(self.days) and self.days[-1].is_anomaly

    @property
    def since(self) -> date:
        """The first of the unusual days, on the same side, that end with the last one."""
        last = self.days[-1]
        first = last.day
        for one in reversed(self.days):
            if not one.is_anomaly or one.is_above != last.is_above:
                break
            first = one.day
        return first


@dataclass(frozen=True)
class Alert:
    """One unusual figure. `key` (name:side) names it while it is open; days are texts, as in the ledger."""

    key: str
    family: str
    since: str
    until: str
    text: str
    is_open: bool = True
    told_open: bool = False
    told_closed: bool = False

    @property
    def is_news(self) -> bool:
        """Whether somebody has to be told."""
        return not self.told_open if self.is_open else self.told_open and not self.told_closed

    def told(self) -> Alert:
        """The same alert after it was delivered."""
        return replace(self, told_open=True) if self.is_open else replace(self, told_closed=True)


def watch(series: Iterable[Series]) -> list[Watched]:
    """Judge the last days of every series by its own past."""
    return [
        Watched(
            one.figure,
            tuple(
                judge_days(
                    list(one.values), one.last_day, one.figure.scale, one.figure.tolerance, LOOK_BACK_DAYS
                )
            ),
        )
        for one in series
    ]


def alert_of(found: Watched) -> Alert:
    """The alert of an unusual figure."""
    last, figure = found.days[-1], found.figure
    side = "above" if last.is_above else "below"
    return Alert(
        f"{figure.name}:{side}", figure.family, str(found.since), str(last.day), alert_text(found, side)
    )


def alert_text(found: Watched, side: str) -> str:
    """One line: what, how large, since when, where to look."""
    last, figure = found.days[-1], found.figure
    size = ""
    if last.expected > 0:
        size = f", {abs(last.value / last.expected - 1):.0%} {side} the {_number(last.expected)} expected"
    lasting = (last.day - found.since).days + 1
    since = f"since {found.since} ({lasting} days)" if lasting > 1 else "on that day alone"
    return (
        f"{figure.name} ({figure.meaning}) was {_number(last.value)} on {last.day:%A} {last.day}{size}; "
        f"usual are {_number(last.low)} to {_number(last.high)}; {since}. Look at {figure.look_at}."
    )


def drift_alerts(report: DriftReport, ledger: Sequence[Alert]) -> list[Alert]:
    """One alert for each model and aspect that drifted, since the first look that saw it."""
    since = {alert.key: alert.since for alert in ledger if alert.is_open}
    found: dict[str, list[Reason]] = {}
    for reason in reasons(report.found):
        found.setdefault(f"{drift_name(reason.model, reason.aspect)}:drifted", []).append(reason)
    return [
        Alert(key, DRIFT, since.get(key, str(report.as_of)), str(report.as_of), drift_text(key, each, since))
        for key, each in found.items()
    ]


def drift_name(model: str, aspect: str) -> str:
    """What an alert calls one aspect of a model."""
    return f"{aspect} of {model}"


def drift_text(key: str, found: Sequence[Reason], since: Mapping[str, str]) -> str:
    """One line: what, how large, since when, where to look."""
    name = key.partition(":")[0]
    lasting = f" since {since[key]}" if key in since else ""
    told = "; ".join(reason.text for reason in found)
    return f"{name} has drifted from training{lasting}: {told}. Look at asset monitoring/drift, and MLflow."


def read_ledger(home: Home) -> list[Alert]:
    """All alerts that are open or were lately, oldest first."""
    found = read_note(home.monitoring / LEDGER) or {"alerts": []}
    return [Alert(**each) for each in found["alerts"]]


def write_ledger(home: Home, alerts: Sequence[Alert]) -> None:
    """Replaces the ledger; of the closed ones the latest are kept."""
    still = [one for one in alerts if one.is_open]
    closed = [one for one in alerts if not one.is_open][-KEPT_CLOSED:]
    values: list[dict[str, Any]] = [asdict(one) for one in [*closed, *still]]
    write_note(home.monitoring / LEDGER, {"alerts": values})


def renew(ledger: Sequence[Alert], found: Sequence[Watched]) -> list[Alert]:
    """The ledger after a look at watched figures. One that was not judged stays as it was."""
    judged = {one.figure.name for one in found if one.days}
    return renewed_by(ledger, judged, [alert_of(one) for one in found if one.is_anomaly])


def renew_drift(ledger: Sequence[Alert], report: DriftReport) -> list[Alert]:
    """The ledger after the champions were compared with their training."""
    judged = {drift_name(each.model, each.aspect) for each in report.found}
    return renewed_by(ledger, judged, drift_alerts(report, ledger))


def renewed_by(ledger: Sequence[Alert], judged: Collection[str], unusual: Iterable[Alert]) -> list[Alert]:
    """The ledger after the names that were `judged`: alerts open, go on, or end; all others stay."""
    current = {alert.key: alert for alert in unusual}
    renewed = []
    for alert in ledger:
        if not alert.is_open or alert.key.partition(":")[0] not in judged:
            renewed.append(alert)
        elif alert.key in current:
            fresh = current.pop(alert.key)
            renewed.append(replace(alert, until=fresh.until, text=fresh.text))
        else:
            renewed.append(replace(alert, is_open=False))
    return [*renewed, *current.values()]


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
