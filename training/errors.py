"""What can go wrong in training.

TrainingError
├── InvalidConfig      a hyperparameter outside its range
├── InvalidMetrics     a metric of experiments that cannot be used
├── InvalidPlan        a question to the planner of experiments that cannot be answered
├── NotEnoughData      too few rows, users or days to fit or to measure
├── MissingMart        a published mart that training reads is absent or lacks a column
├── BrokenModel        model files that cannot be read back
├── BrokenRelease      release files that cannot be read back
└── RegistryError      the tracking store cannot be read or written
"""

from pathlib import Path


class TrainingError(Exception):
    """Base of every error that training raises on purpose."""


class InvalidConfig(TrainingError):
    """A hyperparameter has a value that cannot be used."""

    def __init__(self, field: str, value: object, allowed: str) -> None:
        super().__init__(f"{field}={value!r} cannot be used: {allowed}")
        self.field = field
        self.value = value
        self.allowed = allowed


class InvalidMetrics(TrainingError):
    """A metric of experiments has a field that cannot be used."""

    def __init__(self, metric: str, field: str, value: object, allowed: str) -> None:
        super().__init__(f"metric {metric}: {field}={value!r:.80} cannot be used: {allowed}")
        self.metric = metric
        self.field = field


class InvalidPlan(TrainingError):
    """A question to the planner has a value that cannot be used."""

    def __init__(self, field: str, value: object, allowed: str) -> None:
        super().__init__(f"{field}={value!r} cannot be used: {allowed}")
        self.field = field
        self.value = value
        self.allowed = allowed


class NotEnoughData(TrainingError):
    """There are too few rows, users or days for what was asked."""

    def __init__(self, what: str, found: int, needed: int, remedy: str) -> None:
        super().__init__(f"{what}: found {found}, needed {needed}; {remedy}")
        self.what = what
        self.found = found
        self.needed = needed


class MissingMart(TrainingError):
    """A published mart is absent, unreadable, or lacks a column."""

    def __init__(self, mart: str, problem: str) -> None:
        super().__init__(f"mart {mart!r} {problem}; publish the marts again with `attune run`")
        self.mart = mart


class BrokenModel(TrainingError):
    """A model directory cannot be read back; a model that cannot load raises, it never scores zero."""

    def __init__(self, file: Path, problem: str) -> None:
        super().__init__(f"model file {file} {problem}; train the model again")
        self.file = file


class BrokenRelease(TrainingError):
    """A release directory cannot be read back; names the file and the remedy."""

    def __init__(
        self, file: Path, problem: str, remedy: str = "build the release again with `attune run`"
    ) -> None:
        super().__init__(f"release file {file} {problem}; {remedy}")
        self.file = file
        self.problem = problem
        self.remedy = remedy


class RegistryError(TrainingError):
    """The tracking store or model registry cannot do what was asked."""
