"""What a stage leaves on a terminal and in a log."""

from io import StringIO

from rich.console import Console

from orchestration.progress import PlainView, TerminalView, open_view


def console(terminal: bool) -> tuple[Console, StringIO]:
    output = StringIO()
    return Console(file=output, force_terminal=terminal, width=120, color_system=None), output


def test_a_log_gets_one_line_for_each_finished_stage() -> None:
    target, output = console(terminal=False)
    with open_view(target) as view:
        assert isinstance(view, PlainView)
        view.begin("land events")
        view.advance("land events", 1, 10, "2024-03-01")
        view.end("land events", "rows 12")
        view.begin("publish")
        view.fail("publish", "disk is full")
    first, second = output.getvalue().splitlines()
    assert first.split() == ["done", "land", "events", "0.0", "s", "rows", "12"]
    assert second.split()[:2] == ["FAILED", "publish"]


def test_a_terminal_keeps_each_stage_with_its_note() -> None:
    target, output = console(terminal=True)
    with open_view(target) as view:
        assert isinstance(view, TerminalView)
        view.begin("land events")
        view.advance("land events", 5, 10, "day 5")
        view.end("land events", "rows 12")
        view.say("An earlier run was interrupted.")
    assert "land events" in output.getvalue()
    assert "rows 12" in output.getvalue()
    assert "An earlier run was interrupted." in output.getvalue()


def test_brackets_in_notes_are_text() -> None:
    target, output = console(terminal=False)
    with open_view(target) as view:
        view.begin("x")
        view.end("x", "[red]not a colour[/red]")
    assert "[red]not a colour[/red]" in output.getvalue()
