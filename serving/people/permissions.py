"""What may be done with a visitor, from their consent, their preferences and the headers of this request."""

from dataclasses import dataclass, field
from typing import Self

from starlette.types import Scope


@dataclass(frozen=True, slots=True)
class Signals:
    """What the browser asks for with this request: `DNT: 1` and `Sec-GPC: 1`."""

    do_not_track: bool = False
    global_privacy_control: bool = False

    @classmethod
    def of(cls, scope: Scope) -> Self:
        """From the headers of an HTTP request."""
        sent = {name for name, value in scope["headers"] if value == b"1"}
        return cls(b"dnt" in sent, b"sec-gpc" in sent)


@dataclass(frozen=True, slots=True)
class Permissions:
    """What is allowed now. `reason` names what forbids tracking or personalization, for the answer.

    `channels`: communication by e-mail, sms, push; a channel that is not named is not allowed.
    """

    tracking: bool = True
    personalization: bool = True
    data_sharing: bool = True
    channels: frozenset[str] = field(default=frozenset())
    reason: str | None = None


NO_SIGNALS = Signals()
