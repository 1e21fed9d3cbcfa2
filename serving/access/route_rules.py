"""The access rule of every route, found by method and path before any route is asked.

Built once from the routes themselves, so that a route without a rule stops the start. Looking up takes about
a microsecond, whatever the number of routes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute, Mount

from serving.access.security import ACCESS, Access, Role
from serving.errors import UndeclaredAccess

PUBLIC = Access(Role.PUBLIC)
# What Starlette and BentoML add by themselves, where no route of ours can carry a rule.
BUILT_IN = {"/openapi.json": PUBLIC, "/static": PUBLIC}
NATIVE: Mapping[tuple[str, str], Access] = {
    ("GET", "/livez"): PUBLIC,
    ("GET", "/healthz"): PUBLIC,
    ("GET", "/readyz"): PUBLIC,
    ("POST", "/recommend"): Access(Role.READ, ("body.customer_id",)),
    ("POST", "/recommend_batch"): Access(Role.READ, ("body.customer_ids[]",)),
    ("POST", "/profile"): Access(Role.READ, ("body.customer_id",)),
    ("GET", "/schema.json"): Access(Role.READ),
    ("GET", "/docs.json"): Access(Role.READ),
}
"""BentoML's own endpoints. Its pages (/static_content, /assets) are not reached: ours stand instead."""


@dataclass(slots=True)
class _Node:
    """One step of a path: fixed continuations, the one for a parameter, and the rules that end here."""

    fixed: dict[str, "_Node"] = field(default_factory=dict)
    parameter: "_Node | None" = None
    rules: dict[str, Access] = field(default_factory=dict)
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    below: Access | None = None


class RuleTable:
    """Rules by method and path template; a fixed step goes before a parameter."""

    def __init__(self, rules: Iterable[tuple[str, str, Access]]) -> None:
        self._root = _Node()
        self._whole: dict[tuple[str, str], Access] = {}
        self.declared: dict[tuple[str, str], Access] = {}
        for method, template, rule in rules:
            self._add(method, template, rule)

    def find(self, method: str, path: str) -> Access | None:
        """The rule of the route that answers this, None if there is none."""
        rule = self._whole.get((method, path))
        if rule is not None:
            return rule
        node = _walk(self._root, path.split("/"), 1, method)
        if node is None:
            return None
        return node.rules.get(method) or node.below

    def methods(self, path: str) -> list[str]:
        """What is offered at a path."""
        return sorted({method for method, _ in self.declared if self.find(method, path) is not None})

    def path_params(self, method: str, path: str) -> dict[str, str]:
        """The values of the path's parameters."""
        steps = path.split("/")
        node = _walk(self._root, steps, 1, method)
        names = node.names.get(method, ()) if node is not None else ()
        return {name: step for name, step in zip(names, steps, strict=False) if name}

    def _add(self, method: str, template: str, rule: Access) -> None:
        self.declared[method, template] = rule
        if template.endswith("/*"):
            self._node_of(template[:-2].split("/")).below = rule
            return
        if "{" not in template:
            self._whole[method, template] = rule
        steps = template.split("/")
        node = self._node_of(steps)
        node.rules[method] = rule
        node.names[method] = tuple(_parameter(step) for step in steps)

    def _node_of(self, steps: list[str]) -> _Node:
        node = self._root
        for step in steps[1:]:
            if _parameter(step):
                node.parameter = node.parameter or _Node()
                node = node.parameter
            else:
                node = node.fixed.setdefault(step, _Node())
        return node


def _walk(node: _Node, steps: list[str], index: int, method: str) -> _Node | None:
    """The node that answers the method at the end of the steps; fixed steps first."""
    if index == len(steps):
        return node if method in node.rules else None
    step = steps[index]
    following = node.fixed.get(step)
    if following is not None:
        found = _walk(following, steps, index + 1, method)
        if found is not None:
            return found
    if node.parameter is not None and step:
        found = _walk(node.parameter, steps, index + 1, method)
        if found is not None:
            return found
    return node if node.below is not None and method in ("GET", "HEAD") else None


def _parameter(step: str) -> str:
    """The name of a parameter step, empty for a fixed one."""
    if "{" not in step:
        return ""
    if not (step.startswith("{") and step.endswith("}")) or ":" in step:
        raise ValueError(f"{step!r}: a parameter is a whole step of the path, without converter")
    return step[1:-1]


def rules_of(application: FastAPI) -> RuleTable:
    """The rules of all routes and of BentoML's endpoints; raises `UndeclaredAccess` naming what lacks one."""
    rules: list[tuple[str, str, Access]] = [(method, path, rule) for (method, path), rule in NATIVE.items()]
    rules += [("HEAD", path, rule) for (method, path), rule in NATIVE.items() if method == "GET"]
    undeclared: list[str] = []
    for route in iter_route_contexts(application.routes):
        rule = _declared(route.path or "", getattr(route, "openapi_extra", None))
        if rule is None:
            undeclared.append(f"{'/'.join(sorted(route.methods or ()))} {route.path}")
        elif _is_mount(route.original_route):
            rules += [(method, f"{route.path}/*", rule) for method in ("GET", "HEAD")]
        else:
            rules += [(method, route.path or "", rule) for method in route.methods or ()]
    if undeclared:
        raise UndeclaredAccess(undeclared)
    return RuleTable(rules)


def _is_mount(route: BaseRoute) -> bool:
    return isinstance(route, Mount)


def _declared(path: str, extra: dict[str, object] | None) -> Access | None:
    declared = (extra or {}).get(ACCESS)
    if not isinstance(declared, dict):
        return BUILT_IN.get(path)
    own = declared.get("own")
    return Access(Role(declared["role"]), tuple(declared["subject"]), Role(own) if own else None)
