"""What can go wrong in serving, with the status that HTTP clients see.

ServingError
├── InvalidSetting      an environment variable has a value that cannot be used; the start is refused
├── NoRelease           nothing was released yet; the start is refused
├── UnusableRelease     the release to serve cannot be read; the start is refused, or the old one stays
└── UnknownCustomer     404: no store row names this customer
"""

from collections.abc import Iterable


class ServingError(Exception):
    """Base of every error that serving raises on purpose. `status` is the HTTP status code it becomes."""

    status = 500


class InvalidSetting(ServingError):
    """An environment variable has a value that cannot be used."""

    def __init__(self, name: str, value: str, allowed: str) -> None:
        super().__init__(f"{name}={value!r} cannot be used: {allowed}")
        self.name = name
        self.value = value


class NoRelease(ServingError):
    """There is nothing to serve yet."""

    status = 503

    def __init__(self, looked_in: Iterable[str]) -> None:
        places = " and ".join(looked_in)
        super().__init__(
            f"no release to serve in {places}; make one with `attune run --source NAME --path DIR`"
            " (or `attune demo`), or set ATTUNE_HOME to a home that has one"
        )


class UnusableRelease(ServingError):
    """The release to serve exists but cannot be read whole."""

    status = 503

    def __init__(self, release_id: str, problem: str) -> None:
        super().__init__(f"release {release_id} cannot be served: {problem}")
        self.release_id = release_id
        self.problem = problem


class UnknownCustomer(ServingError):
    """Nothing is known about this customer."""

    status = 404

    def __init__(self, customer_id: str) -> None:
        super().__init__(
            f"customer_id {customer_id!r} is unknown: no behaviour and no predictions are stored for it;"
            " check the id, or ask for recommendations, which answer newcomers too"
        )
        self.customer_id = customer_id
