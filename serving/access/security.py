"""Who may call what: access rules that each route declares, and the check of keys against them.

A request carries `Authorization: Bearer KEY`. The rule of its route says the least role, and where the
request names the person it is about: a key that is bound to one subject reaches that subject only. What has
no rule is not reached at all. Where no keys are configured, whoever is on this machine may do everything, and
nobody else anything.
"""

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import orjson
from starlette.types import Scope

from serving.access.subjects import NotJson, names_only
from serving.errors import Refused

if TYPE_CHECKING:
    from serving.access.keys import Key, Keyring
    from serving.access.rate_limit import RateLimiter
    from serving.access.route_rules import RuleTable

ACCESS = "x-attune-access"
BEARER = "bearerAuth"
CALLER_ROLE = "attune.role"
"""Where the scope of a request tells its route what the caller may do."""
NO_SUCH_PATH = "no such path; GET /docs lists what there is"
REALM = 'Bearer realm="attune"'
# A client that is not known by its address talks through a socket of this machine.
LOOPBACK = frozenset({"127.0.0.1", "::1", ""})


class Role(StrEnum):
    """What a key may do; `admin` may all, `write` includes `read`. `public` routes need no key."""

    PUBLIC = "public"
    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


RANK = {role: rank for rank, role in enumerate(Role)}


@dataclass(frozen=True)
class Access:
    """The least role that a route asks for, and where the request names the person that it is about.

    `subject`: places such as `path.customer_id`, `query.customer_id`, `body.user_id`,
    `body.events[].user_id`. A key bound to one subject may only call a route that has some; the request must
    name that subject in at least one of them, and nobody else in any.
    `own`: the role that is enough for a key bound to the very subject, where that is less than `role`.
    """

    role: Role
    subject: tuple[str, ...] = ()
    own: Role | None = None

    @property
    def needs_body(self) -> bool:
        """Whether the person may be named in the body."""
        return any(place.startswith("body.") for place in self.subject)


def access(role: Role, *subject: str, own: Role | None = None) -> dict[str, Any]:
    """Keyword arguments that declare a rule: `@router.get("/x/{id}", **access(Role.READ, "path.id"))`."""
    rule: dict[str, Any] = {"role": role.value, "subject": list(subject)}
    if own is not None:
        rule["own"] = own.value
    if role is Role.PUBLIC:
        return {"openapi_extra": {ACCESS: rule, "security": []}}
    return {"openapi_extra": {ACCESS: rule, "security": [{BEARER: []}]}}


@dataclass(frozen=True, slots=True)
class Admission:
    """A request that may go on; one that is bound to a subject still has to prove it by its body."""

    rule: Access
    role: Role
    bound_to: str | None = None
    path_params: "dict[str, str] | None" = None

    @property
    def needs_body(self) -> bool:
        """Whether only the body tells that the request is about the right person."""
        return self.bound_to is not None and self.rule.needs_body

    def check_body(self, scope: Scope, body: bytes) -> None:
        """Refuse a request whose body names somebody else, or nobody where it must."""
        assert self.bound_to is not None
        _check_subject(self.rule, self.bound_to, scope, self.path_params or {}, body)


class Gate:
    """Decides for every request whether a route gets to see it. One instance a process."""

    def __init__(self, rules: "RuleTable", keys: "Keyring | None", limiter: "RateLimiter") -> None:
        """Without a keyring nothing but public routes is open: the service is starting."""
        self.rules = rules
        self._keys = keys
        self._limiter = limiter

    def admit(self, scope: Scope, authorization: bytes | None) -> Admission:
        """Raises `Refused`: 401 and 403 by the keys, 404 and 405 by the paths, 429 by the rate."""
        method, path = scope["method"], scope["path"]
        rule = self.rules.find(method, path)
        if rule is not None and rule.role is Role.PUBLIC:
            return Admission(rule, Role.PUBLIC)
        if self._keys is None:
            raise Refused(503, "the service is starting: send this again in a second", {"Retry-After": "1"})
        key = self._keys.find(authorization) if self._keys else None
        self._check_caller(scope, authorization, key)
        self._limiter.check(key, scope)
        if rule is None:
            raise self._unknown(method, path)
        if key is None:
            return Admission(rule, Role.ADMIN)
        if key.subject is None:
            _check_role(rule.role, key)
            return Admission(rule, key.role)
        return self._admit_bound(rule, key, key.subject, scope)

    def _admit_bound(self, rule: Access, key: "Key", subject: str, scope: Scope) -> Admission:
        if not rule.subject:
            raise _forbidden(f"this key speaks for one customer, and {scope['method']} here is about all")
        _check_role(rule.own or rule.role, key)
        params = self.rules.path_params(scope["method"], scope["path"])
        if not rule.needs_body:
            _check_subject(rule, subject, scope, params, None)
        return Admission(rule, key.role, subject, params)

    def _check_caller(self, scope: Scope, authorization: bytes | None, key: "Key | None") -> None:
        if not self._keys:
            client = scope.get("client")
            if client is not None and not is_loopback(client[0]):
                raise Refused(403, "without API keys only this machine is answered: set ATTUNE_API_KEYS_FILE")
        elif authorization is None:
            challenge = {"WWW-Authenticate": REALM}
            raise Refused(401, "a key is needed: send Authorization: Bearer KEY", challenge)
        elif key is None:
            challenge = {"WWW-Authenticate": f'{REALM}, error="invalid_token"'}
            raise Refused(401, "this key is not known here: ask the operator for one", challenge)

    def _unknown(self, method: str, path: str) -> Refused:
        offered = self.rules.methods(path)
        if offered:
            return Refused(
                405, f"{method} is not offered here; GET /docs lists what is", {"Allow": ", ".join(offered)}
            )
        return Refused(404, NO_SUCH_PATH)


def is_loopback(host: str) -> bool:
    """Whether an address is of this machine alone."""
    if host in LOOPBACK:
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _check_role(needed: Role, key: "Key") -> None:
    if key.rank < RANK[needed]:
        raise _forbidden(f"this key may {key.role.value}, and this asks for {needed.value}")


def _check_subject(
    rule: Access, subject: str, scope: Scope, params: dict[str, str], body: bytes | None
) -> None:
    try:
        is_own = names_only(subject, rule.subject, params, scope["query_string"], body)
    except NotJson:
        is_own = False
    if not is_own:
        raise _forbidden("this key speaks for one customer, and this request is not about that one alone")


def _forbidden(problem: str) -> Refused:
    return Refused(403, problem, {"WWW-Authenticate": f'{REALM}, error="insufficient_scope"'})


def problem_body(problem: str) -> bytes:
    """A refusal as every error is written."""
    return orjson.dumps({"detail": problem})
