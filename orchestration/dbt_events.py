"""What dbt says of itself, without what nobody hears: every event is formatted before a log leaves it out."""

from typing import Any

from dbt_common.events.base_types import BaseEvent, EventLevel
from dbt_common.events.event_manager import EventManager


class HeardEvents(EventManager):
    """Debug events pass only if a log takes them; four of five events of a run are such."""

    def fire_event(
        self,
        e: BaseEvent,
        level: EventLevel | None = None,
        node: Any = None,
        force_warn_or_error_handling: bool = False,
    ) -> None:
        """As the base class."""
        is_debug = (level or e.level_tag()) is EventLevel.DEBUG
        if not is_debug or any(logger.level is EventLevel.DEBUG for logger in self.loggers):
            super().fire_event(e, level, node, force_warn_or_error_handling)
