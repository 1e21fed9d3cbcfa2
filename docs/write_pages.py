"""Writes the pages that are made from code, `make docs`: event contract, exit codes, description of the API.

`python docs/write_pages.py --check` writes nothing and fails if a page is not current.
"""

import inspect
import json
import sys
import textwrap
from pathlib import Path

import pyarrow as pa

from feature_repo import events
from orchestration import errors
from serving.api.application import create_application

WIDTH = 110
DOCS = Path(__file__).resolve().parent
BEGIN = "<!-- exit codes: written by `make docs` from orchestration/errors.py -->"
END = "<!-- end of exit codes -->"

HEAD = f"""# Events

Written by `make docs` from `feature_repo/events.py`, the contract (version {events.CONTRACT_VERSION}). Change
that file, never this one.

One event is one act of one visitor at one instant. Instants are UTC with microseconds. `event_id` is the key:
the same event twice counts once. A row that breaks the contract goes to quarantine with its reason and its
raw form, and is counted; nothing is dropped in silence.
"""


def table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [columns, tuple("---" for _ in columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def fields(schema: pa.Schema) -> str:
    """Name, type and whether a value must be there, for each field."""
    rows = [(f"`{field.name}`", str(field.type), "" if field.nullable else "always") for field in schema]
    return table(("field", "type", "present"), rows)


def vocabulary() -> str:
    """One table for each group of types: name, meaning, fields that it needs, other spellings."""
    spellings: dict[str, list[str]] = {}
    for alias, name in events.ALIASES.items():
        if alias != name:
            spellings.setdefault(name, []).append(alias)
    groups: dict[str, list[tuple[str, ...]]] = {}
    for kind in events.EVENT_TYPES.values():
        needs = ", ".join(f"`{field}`" for field in kind.required)
        others = ", ".join(sorted(spellings.get(kind.name, [])))
        groups.setdefault(kind.group, []).append((f"`{kind.name}`", kind.meaning, needs, others))
    columns = ("type", "meaning", "needs", "also spelled")
    return "\n".join(f"### {group.capitalize()}\n\n{table(columns, rows)}" for group, rows in groups.items())


def event_page() -> str:
    """docs/events.md, whole."""
    lists = textwrap.fill(
        f"`channel` is one of {', '.join(f'`{name}`' for name in events.CHANNELS)}"
        f" (not given: `{events.DEFAULT_CHANNEL}`); `device_type` one of"
        f" {', '.join(f'`{name}`' for name in events.DEVICE_TYPES)}. Price is per unit, in the currency's"
        " main unit; quantity is units, always positive: a `return` is an event of its own. `context` and"
        " `attributes` are JSON objects; `category_path` reads `top > middle > leaf`.",
        WIDTH,
        break_on_hyphens=False,
    )
    parts = [
        HEAD,
        f"## Event\n\n{fields(events.EVENT_SCHEMA)}",
        f"{lists}\n",
        f"## Item\n\n{fields(events.ITEM_SCHEMA)}",
        f"## Customer\n\n{fields(events.CUSTOMER_SCHEMA)}",
        f"## Types\n\nThere are {len(events.EVENT_TYPES)}. Case, hyphens and spaces do not matter.\n",
        vocabulary(),
    ]
    return "\n".join(parts)


def exit_codes() -> str:
    """One row per exit code: the errors that end with it, each in the words of its own docstring."""
    meanings: dict[int, list[str]] = {0: ["it worked"]}
    for error in vars(errors).values():
        if inspect.isclass(error) and errors.AttuneError in error.__mro__[1:]:
            sentence = (inspect.getdoc(error) or "").split("\n", 1)[0].rstrip(".")
            meanings.setdefault(error.exit_code, []).append(sentence[0].lower() + sentence[1:])
    meanings.setdefault(errors.AttuneError.exit_code, []).append("anything else that failed")
    meanings[130] = ["interrupted; the same command takes up where it stopped"]
    return table(("code", "means"), [(str(code), "; ".join(meanings[code])) for code in sorted(meanings)])


def troubleshooting_page() -> str:
    """docs/troubleshooting.md as it stands, with the exit codes of now."""
    text = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n\n{exit_codes()}\n{END}{rest.split(END)[1]}"


def api_description() -> str:
    """docs/openapi.json: what `GET /openapi.json` answers."""
    return json.dumps(create_application().openapi(), indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the pages, or compare them."""
    pages = {
        "events.md": event_page(),
        "troubleshooting.md": troubleshooting_page(),
        "openapi.json": api_description(),
    }
    for name, text in pages.items():
        path = DOCS / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        if "--check" in sys.argv[1:]:
            sys.exit(f"error: docs/{name} is not what the code says; run `make docs`")
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
