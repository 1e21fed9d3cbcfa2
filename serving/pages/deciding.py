"""How a decision becomes an answer: decide, note the receipt, say where it comes from.

Every kind of decision is a pure function of JSON inputs. What it saw and gave is recorded as it was, so that
`GET /api/v1/decisions/{id}` finds the same again.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from serving.decision_log import DECIDERS
from serving.metrics import Metrics
from serving.pages.shelf import Shelf
from serving.pages.visitors import Visitor, Visitors
from serving.people.permissions import Signals
from serving.releases import ReleaseHolder, ServedRelease

Decide = Callable[[Mapping[str, Any]], dict[str, Any]]
Recommend = Callable[[str, int, Signals, str, str], Awaitable[Mapping[str, Any]]]
"""(visitor id, how many, signals, page, kind of decision) -> an answer with `recommendations` and its ids."""


class DecisionLog(Protocol):
    """What is used of the log of decisions; `serving.decision_log.DecisionLog` is one."""

    def record(
        self,
        kind: str,
        visitor_id: str | None,
        inputs: Mapping[str, Any],
        output: Mapping[str, Any],
        release: str,
    ) -> str: ...


def register(kind: str, decide: Decide) -> None:
    """Have decisions of this kind recomputed by their own function."""
    DECIDERS[kind] = lambda inputs, _: decide(inputs)


@dataclass(frozen=True)
class Desk:
    """What every core here needs: visitors, the release, the log, and who recommends."""

    visitors: Visitors
    releases: ReleaseHolder
    log: DecisionLog
    metrics: Metrics
    recommend: Recommend

    @property
    def release(self) -> ServedRelease:
        """The release that answers now."""
        return self.releases.current

    @property
    def shelf(self) -> Shelf:
        """Its goods."""
        return Shelf(self.releases.current)

    def decide(
        self, kind: str, visitor_id: str | None, inputs: Mapping[str, Any], decide: Decide
    ) -> tuple[dict[str, Any], str]:
        """The output, and the id of its receipt."""
        output = decide(inputs)
        return output, self.log.record(kind, visitor_id, inputs, output, self.release.release_id)

    def provenance(
        self,
        kind: str,
        visitor: Visitor | None,
        decision_id: str,
        degraded: tuple[str, ...] = (),
        reason: str | None = None,
        personalized: bool | None = None,
    ) -> dict[str, Any]:
        """What every answer says of itself; `reason` says why it is not personal, if it is not."""
        is_personal = visitor is not None and visitor.personalized if personalized is None else personalized
        found = tuple(dict.fromkeys((*(visitor.degraded if visitor is not None else ()), *degraded)))
        if reason is None and visitor is not None and not visitor.personalized:
            reason = visitor.permissions.reason
        self.metrics.count_answers(kind, [found[0] if found else None if is_personal else "not_personal"])
        return {
            "decision_id": decision_id,
            "personalized": is_personal,
            "reason": reason,
            "degraded": list(found),
            "feature_age_seconds": visitor.feature_age_seconds if visitor is not None else None,
            "release": self.release.release_id,
            "model_versions": self.release.model_versions,
        }
