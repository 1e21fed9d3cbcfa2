"""What can go wrong in serving, with the status that HTTP clients see and the exit code of a command.

ServingError
├── InvalidSetting      an environment variable has a value that cannot be used; the start is refused
├── NoRelease           nothing was released yet; the start is refused
├── NoTables            503: no run published tables in this home yet
├── UnusableRelease     the release to serve cannot be read; the start is refused, or the old one stays
├── UnusableStore       the operational store is of another version; the start is refused
├── StoreUnavailable    503: the operational store does not answer; come again in a second
├── InvalidDeclarations rules.yaml, campaigns.yaml, journeys.yaml: names line, field, value and remedy
│   └── InvalidExperiments  experiments.yaml: the start is refused, or what was in force stays
├── NothingToSend       404: a campaign needs what is not there yet: the customers, a way to send
├── NotDeclared         404: no campaign or journey of this name
├── UnknownExperiment   404: no experiment has this id
├── ExperimentConflict  409: an experiment does not fit beside the others, or may not be changed so
├── EventIdTaken        409: another event has this id
├── UnknownCustomer     404: no store row names this customer
├── UnknownItem         404: the release's catalogue does not have this item
├── CustomerExists      409: somebody with this id was created before
├── IdentityTaken       409: an anonymous id belongs to another customer
├── CustomerErased      409: somebody with this id was erased
├── OptOutRefused       403: ALLOW_OPT_OUT=false
├── InvalidField        422: a value fits the schema and cannot be used all the same
├── Refused             401, 403, 404, 405, 408, 413, 422, 429: before any route was asked
└── UndeclaredAccess    a route says not who may call it; the start is refused
"""

import sys
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import ClassVar, NoReturn


class ServingError(Exception):
    """Base of every error that serving raises on purpose: the HTTP status and headers that it becomes.

    `exit_code`: of a command that it ends, as docs/troubleshooting.md lists them.
    """

    status = 500
    headers: Mapping[str, str] = MappingProxyType({})
    exit_code: ClassVar[int] = 1


def end_command(error: ServingError) -> NoReturn:
    """Ends a command: the error as one line on stderr, and its exit code."""
    sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
    sys.exit(error.exit_code)


class InvalidSetting(ServingError):
    """An environment variable has a value that cannot be used."""

    exit_code = 2

    def __init__(self, name: str, value: str, allowed: str) -> None:
        super().__init__(f"{name}={value!r} cannot be used: {allowed}")
        self.name = name
        self.value = value


class NoRelease(ServingError):
    """There is nothing to serve yet."""

    status = 503
    exit_code = 5

    def __init__(self, looked_in: Iterable[str]) -> None:
        places = " and ".join(looked_in)
        super().__init__(
            f"no release to serve in {places}; make one with `attune run --source NAME --path DIR`"
            " (or `attune demo`), or set ATTUNE_HOME to a home that has one"
        )


class UnusableRelease(ServingError):
    """The release to serve exists but cannot be read whole."""

    status = 503
    exit_code = 5

    def __init__(self, release_id: str, problem: str) -> None:
        super().__init__(f"release {release_id} cannot be served: {problem}")
        self.release_id = release_id
        self.problem = problem


class UnusableStore(ServingError):
    """The tables of the operational store are not those that this version of the service knows."""

    status = 503

    def __init__(self, found: str, expected: str, problem: str) -> None:
        super().__init__(
            f"the operational store is at version {found} and this service knows versions up to {expected}"
            f" ({problem}): start a newer version of the service, or give it another DATABASE_URL"
        )


class NoTables(ServingError):
    """No run published tables in this home yet. `place`: where they were looked for, for logs."""

    status = 503

    def __init__(self, place: str) -> None:
        super().__init__(
            "no tables are published yet: make them with `attune run --source NAME --path DIR`,"
            " in the home of this service"
        )
        self.place = place


class StoreUnavailable(ServingError):
    """The operational store does not answer. Whether a write was kept is not known: repeat it as it was."""

    status = 503
    headers = MappingProxyType({"Retry-After": "1"})

    def __init__(self, problem: str) -> None:
        super().__init__("the operational store does not answer now; send the request again in a second")
        self.problem = problem


class InvalidDeclarations(ServingError):
    """A file of the operator cannot be used; `line` is where."""

    status = 503

    def __init__(self, name: str, line: int | None, problem: str) -> None:
        place = name if line is None else f"{name} line {line}"
        super().__init__(f"{place}: {problem}")
        self.line = line


class InvalidExperiments(InvalidDeclarations):
    """The file of experiments cannot be used."""


class NothingToSend(ServingError):
    """A campaign or journey needs what is not there yet."""

    status = 404
    exit_code = 5


class NotDeclared(ServingError):
    """No campaign or journey has this name, or none is given."""

    status = 404
    exit_code = 2

    def __init__(self, kind: str, name: str | None, known: Iterable[str], file: str) -> None:
        names = ", ".join(known)
        problem = f"{kind}={name!r} is not declared" if name else f"the name of a {kind} is missing"
        if names:
            super().__init__(f"{problem}; use one of {names}")
        else:
            super().__init__(f"no {kind} is declared; write {file} in ATTUNE_HOME (docs/marketers.md)")


class UnknownExperiment(ServingError):
    """No experiment has this id."""

    status = 404

    def __init__(self, experiment_id: str) -> None:
        super().__init__(
            f"experiment={experiment_id!r} cannot be used: there is none of this id;"
            " GET /api/v1/experiments lists them"
        )


class ExperimentConflict(ServingError):
    """An experiment does not fit beside the others, or may not be changed in this way."""

    status = 409

    def __init__(self, experiment_id: str, remedy: str) -> None:
        super().__init__(f"experiment={experiment_id!r} cannot be used: {remedy}")
        self.experiment_id = experiment_id


class EventIdTaken(ServingError):
    """Another event, with another content, has this id."""

    status = 409

    def __init__(self, event_id: str) -> None:
        super().__init__(
            f"event_id={event_id!r} cannot be used: another event has this id;"
            " give each event an id of its own, and repeat one unchanged"
        )


class UnknownCustomer(ServingError):
    """Nothing is known about this customer."""

    status = 404

    def __init__(self, customer_id: str) -> None:
        super().__init__(
            f"customer_id {customer_id!r} is unknown: no behaviour and no predictions are stored for it;"
            " check the id, or ask for recommendations, which answer newcomers too"
        )
        self.customer_id = customer_id


class UnknownItem(ServingError):
    """The catalogue does not have this item."""

    status = 404

    def __init__(self, item_id: str) -> None:
        super().__init__(f"item_id {item_id!r} is unknown: the catalogue of the release does not have it")
        self.item_id = item_id


class UnknownDecision(ServingError):
    """No decision has this id, or none of this visitor."""

    status = 404

    def __init__(self, decision_id: str) -> None:
        super().__init__(
            f"decision_id={decision_id!r} cannot be used: no such decision is kept;"
            " send the decision_id or recommendation_id of an answer"
        )


class CustomerExists(ServingError):
    """A customer of this id was created before."""

    status = 409

    def __init__(self, customer_id: str) -> None:
        super().__init__(
            f"customer_id={customer_id!r} cannot be used: this customer exists;"
            " change it by PUT /api/v1/customers/{customer_id}, or choose another id"
        )


class CustomerErased(ServingError):
    """Somebody with this id asked to be forgotten."""

    status = 409

    def __init__(self, customer_id: str, is_complete: bool = True) -> None:
        remedy = "choose another id, or let an administrator create it again"
        if not is_complete:
            remedy = "the files of the batch may still hold the former customer; try again after the next run"
        super().__init__(f"customer_id={customer_id!r} cannot be used: it was erased; {remedy}")


class OptOutRefused(ServingError):
    """This installation does not let people opt out."""

    status = 403

    def __init__(self) -> None:
        super().__init__(
            "opting out is not offered here: ALLOW_OPT_OUT is false; ask the operator of this service"
        )


class IdentityTaken(ServingError):
    """An anonymous id belongs to another customer already. Which one is nobody's business."""

    status = 409

    def __init__(self, anonymous_id: str) -> None:
        super().__init__(
            f"anonymous_id={anonymous_id!r} cannot be used: it joined another customer before, and the first"
            " link stands; give the browser a new anonymous id when somebody signs out"
        )


class InvalidField(ServingError):
    """A value that fits the schema and cannot be used all the same."""

    status = 422

    def __init__(self, field: str, value: object, remedy: str) -> None:
        super().__init__(f"{field}={value!r} cannot be used: {remedy}")
        self.field = field


class Refused(ServingError):
    """A request that no route gets to see: who asks, how often, or the form of what was sent."""

    def __init__(self, status: int, problem: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(problem)
        self.status = status
        self.headers = headers or {}


class UndeclaredAccess(ServingError):
    """Routes that do not say who may call them."""

    def __init__(self, routes: Iterable[str]) -> None:
        super().__init__(
            f"no access rule for {', '.join(routes)}: declare one by **access(Role..., ...) on the route"
        )
