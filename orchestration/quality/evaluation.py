"""Evaluate a suite on a frame with Great Expectations.

To import the library takes two seconds. `evaluating_beside` has a process of its own do that, while the
caller reads its source; what the rules found comes back through a pipe. Results carry counts and aggregates
only, never the rows that failed: they would name customers.
"""

from __future__ import annotations

import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from orchestration.garbage import collect_rarely
from orchestration.quality.suites import Rule

_ANSWER = "from orchestration.quality.evaluation import answer; answer()"


@dataclass(frozen=True)
class Outcome:
    """What one rule found; `observed` are the figures that it looked at."""

    rule: Rule
    passed: bool
    observed: dict[str, float | int | str]


def run_suite(frame: pd.DataFrame, rules: Sequence[Rule]) -> list[Outcome]:
    """Every rule on the whole frame, in order. A rule that cannot be evaluated counts as failed."""
    if _open:
        try:
            return _open[-1].ask(frame, rules)
        except (OSError, EOFError, pickle.UnpicklingError):
            _open.pop().close()  # it died: whatever the reason, here it is seen
    return evaluate(frame, rules)


@contextmanager
def evaluating_beside() -> Iterator[None]:
    """While the block runs, `run_suite` asks another process. One block at a time in a process."""
    _open.append(_Beside())
    try:
        yield
    finally:
        while _open:
            _open.pop().close()


def evaluate(frame: pd.DataFrame, rules: Sequence[Rule]) -> list[Outcome]:
    """As `run_suite`, in this process."""
    import great_expectations as gx
    from great_expectations import expectations
    from great_expectations.data_context.types.base import ProgressBarsConfig

    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas("memory").add_dataframe_asset("frame")
    batch = asset.add_batch_definition_whole_dataframe("whole").get_batch({"dataframe": frame})
    outcomes = []
    for rule in rules:
        result = batch.validate(getattr(expectations, rule.kind)(**rule.arguments))
        outcomes.append(Outcome(rule, bool(result.success), _observed(result)))
    return outcomes


def answer() -> None:
    """The other process: evaluates what comes in until its input ends, as it does if the asking one dies."""
    collect_rarely()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints stays out of the answers
    evaluate(pd.DataFrame({"column": [1]}), [])
    while True:
        try:
            frame, rules = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        pickle.dump(evaluate(frame, rules), answers, pickle.HIGHEST_PROTOCOL)
        answers.flush()


class _Beside:
    """The other process, as the asking one has it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _ANSWER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def ask(self, frame: pd.DataFrame, rules: Sequence[Rule]) -> list[Outcome]:
        """As `run_suite`; raises OSError, EOFError or UnpicklingError if the process is no more."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        pickle.dump((frame, list(rules)), self._process.stdin, pickle.HIGHEST_PROTOCOL)
        self._process.stdin.flush()
        found: list[Outcome] = pickle.load(self._process.stdout)
        return found

    def close(self) -> None:
        """End it; it holds nothing."""
        self._process.kill()
        self._process.communicate()


_open: list[_Beside] = []


def _observed(result: Any) -> dict[str, float | int | str]:
    """The figures of a Great Expectations result, without the values of any row."""
    exception = result.exception_info or {}
    if exception.get("raised_exception") or any(
        isinstance(entry, dict) and entry.get("raised_exception") for entry in exception.values()
    ):
        return {"error": "the rule could not be evaluated: a column is missing or of another type"}
    found = {}
    for name in ("observed_value", "element_count", "unexpected_count", "unexpected_percent"):
        value = (result.result or {}).get(name)
        if value is not None:
            found[name] = _plain(value)
    return found


def _plain(value: Any) -> float | int | str:
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return round(float(value), 6)
    return str(value)
