"""Which of dbt's events are formatted: those that a log takes."""

from io import StringIO

import pytest
from dbt_common.events import event_manager
from dbt_common.events.base_types import EventLevel
from dbt_common.events.logger import LoggerConfig
from dbt_common.events.types import Formatting, SystemStdOut

from orchestration.dbt_events import HeardEvents


@pytest.mark.parametrize(
    ("level", "heard"), [(EventLevel.INFO, ["aloud"]), (EventLevel.DEBUG, ["aloud", "whispered"])]
)
def test_a_debug_event_is_formatted_only_for_a_log_that_takes_it(
    level: EventLevel, heard: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    formatted, output = [], StringIO()
    original = event_manager.msg_from_base_event

    def noted(event: Formatting | SystemStdOut, level: EventLevel | None = None) -> object:
        formatted.append(type(event).__name__)
        return original(event, level=level)

    monkeypatch.setattr(event_manager, "msg_from_base_event", noted)
    manager = HeardEvents()
    manager.add_logger(LoggerConfig("test", level=level, output_stream=output))
    manager.fire_event(Formatting(msg="aloud"))
    manager.fire_event(SystemStdOut(bmsg="whispered"))
    assert [word for word in ("aloud", "whispered") if word in output.getvalue()] == heard
    assert len(formatted) == len(heard)


def test_an_event_raised_to_a_warning_is_heard() -> None:
    output = StringIO()
    manager = HeardEvents()
    manager.add_logger(LoggerConfig("test", level=EventLevel.WARN, output_stream=output))
    manager.fire_event(SystemStdOut(bmsg="whispered"), level=EventLevel.WARN)
    assert "whispered" in output.getvalue()
