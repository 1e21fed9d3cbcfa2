"""Who may call what: access rules that each route declares, and the check of keys against them."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

ACCESS = "x-attune-access"


class Role(StrEnum):
    """What a key may do; `admin` may all, `write` includes `read`. `public` routes need no key."""

    PUBLIC = "public"
    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


@dataclass(frozen=True)
class Access:
    """The least role that a route asks for, and where the request names the person that it is about.

    `subject`: places such as `path.customer_id`, `query.customer_id`, `body.user_id`,
    `body.events[].user_id`, looked at in this order; a key bound to one subject may only call a route that
    has some, and only for that subject.
    """

    role: Role
    subject: tuple[str, ...] = ()


def access(role: Role, *subject: str) -> dict[str, Any]:
    """Keyword arguments that declare a rule: `@router.get("/x/{id}", **access(Role.READ, "path.id"))`."""
    return {"openapi_extra": {ACCESS: {"role": role.value, "subject": list(subject)}}}
