"""Which features are on: OpenFeature flags over the settings, read once into plain booleans.

A flag is asked for in the middle of answers, so `enabled` is a look into a set. What it holds was evaluated
at the start through OpenFeature's client; `GET /api/v1/flags` shows the same: name, value, why.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import FlagNotFoundError, TypeMismatchError
from openfeature.flag_evaluation import FlagResolutionDetails, FlagValueType, Reason
from openfeature.provider import AbstractProvider, Metadata

from serving.settings import FLAGS, Settings

DOMAIN = "attune"
SWITCHES: Mapping[str, str] = {
    "behavioral_tracking": "tracking; off: events are answered with tracked=false and not stored",
    "browsing_history": "storing what was browsed; off: views and visits of lists are not stored",
    "preference_center": "preferences; off: they are read as their defaults and cannot be changed",
    "recommendations": "personal recommendations; off: popular items for everybody",
    "personalized_search": "personal order of search results; off: the order that was sent",
    "dynamic_pricing": "personal prices within bounds; off: list prices",
    "smart_notifications": "send times for each customer; off: the default hour",
    "ab_testing": "experiments; off: the control group for everybody, nobody is counted",
    "live_reranking": "ranking by what the session did; off: the last batch decides",
    "lazy_algorithms": "preparing what few answers need while the service answers; off: before it does",
}


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag as it was evaluated."""

    name: str
    is_enabled: bool
    setting: str
    reason: str
    switches: str


class SettingsProvider(AbstractProvider):
    """Boolean flags from the service's settings. Flags of other types do not exist."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._enabled = settings.flags

    def get_metadata(self) -> Metadata:
        return Metadata(name="attune-settings")

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        """The setting's value: STATIC, or DEFAULT where nobody set it."""
        if flag_key not in FLAGS:
            raise FlagNotFoundError(f"{flag_key} is none of {', '.join(FLAGS)}")
        value = flag_key in self._enabled
        reason = Reason.DEFAULT if value == FLAGS[flag_key][1] else Reason.STATIC
        return FlagResolutionDetails(value=value, reason=reason, variant="on" if value else "off")

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        raise _only_booleans(flag_key)

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        raise _only_booleans(flag_key)

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        raise _only_booleans(flag_key)

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Sequence[FlagValueType] | Mapping[str, FlagValueType],
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Sequence[FlagValueType] | Mapping[str, FlagValueType]]:
        raise _only_booleans(flag_key)


class Flags:
    """The flags of this process, evaluated once."""

    def __init__(self, settings: Settings) -> None:
        api.set_provider(SettingsProvider(settings), DOMAIN)
        client = api.get_client(DOMAIN)
        self.all: tuple[Flag, ...] = ()
        for name, (setting, default) in FLAGS.items():
            found = client.get_boolean_details(name, default)
            reason = str(found.reason or Reason.UNKNOWN)
            self.all += (Flag(name, found.value, setting, reason, SWITCHES[name]),)
        self._enabled = frozenset(flag.name for flag in self.all if flag.is_enabled)

    def enabled(self, name: str) -> bool:
        """Whether a feature is on. The name is one of `FLAGS`; another one is a mistake of ours."""
        assert name in FLAGS, f"{name} is no flag"
        return name in self._enabled

    def disabled_by(self, name: str) -> str | None:
        """What an answer says of a feature that is off, such as `ENABLE_AB_TESTING=false`; else None."""
        return None if self.enabled(name) else f"{FLAGS[name][0]}=false"


def _only_booleans(flag_key: str) -> TypeMismatchError:
    return TypeMismatchError(f"{flag_key}: every flag is a boolean")
