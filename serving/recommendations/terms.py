"""On which terms an ask is answered: whether anything personal is allowed, and what experiments set."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from serving.decisions.assignment import EXPERIMENT
from serving.people.permissions import Permissions, Signals
from serving.recommendations.ask import RecommendAsk
from serving.recommendations.knowledge import Known

NOT_ALLOWED = "personalization_not_allowed"
ALLOWED = Permissions()


class Parameters(Protocol):
    """What experiments set for a visitor."""

    @property
    def values(self) -> Mapping[str, Any]: ...

    @property
    def arms(self) -> Mapping[str, str]: ...


class Experiments(Protocol):
    """The running experiments."""

    def parameters(
        self,
        visitor_id: str | None,
        permissions: Permissions,
        attributes: Mapping[str, Any] | None = None,
        scope: str | None = None,
    ) -> Parameters: ...

    def expose(self, visitor_id: str, arms: Mapping[str, str]) -> None: ...


class Terms:
    """Switch, consent and experiments. A part that is None is not there: everything is allowed."""

    def __init__(
        self,
        permissions: Callable[[str | None, Signals], Permissions] | None,
        experiments: Experiments | None,
        disabled_by: str | None,
    ) -> None:
        self._permissions = permissions
        self._experiments = experiments
        self._disabled_by = disabled_by

    def begin(self, ask: RecommendAsk) -> Known:
        """What may be looked at, and what experiments set; nothing is read yet."""
        if self._disabled_by is not None:
            return Known(refusal=self._disabled_by)
        if self._permissions is None:
            permissions = ALLOWED
        else:
            permissions = self._permissions(ask.visitor_id, ask.signals)
            if not permissions.personalization:
                return Known(refusal=permissions.reason or NOT_ALLOWED)
        known = Known()
        if self._experiments is not None:
            found = self._experiments.parameters(
                ask.visitor_id, permissions, ask.attributes, "recommendations"
            )
            if found.arms:
                known.values, known.arms = found.values, found.arms
                if found.values.get("recommendations.algorithm") == "popular":
                    # The control of an experiment on personalization itself: what everybody gets.
                    known.refusal = EXPERIMENT
                if ask.visitor_id is not None:
                    self._experiments.expose(ask.visitor_id, found.arms)
        return known
