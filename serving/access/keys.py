"""API keys: made by `python -m serving.access.keys`, known to the service by their SHA-256 alone.

The file that ATTUNE_API_KEYS_FILE names is YAML; it is read once, at the start:

    keys:
      - name: shop                # for the operator; appears in no log
        sha256: 3b1c...           # of the key, in hexadecimal
        role: write               # read, write or admin
      - name: profile page of 42
        sha256: 90aa...
        role: read
        subject: "42"             # optional: the only customer that this key may be used for
        requests_per_second: 5    # optional: instead of ATTUNE_RATE_LIMIT
"""

import argparse
import re
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from serving.access.security import RANK, Role
from serving.errors import InvalidSetting

SETTING = "ATTUNE_API_KEYS_FILE"
ROLES = (Role.READ, Role.WRITE, Role.ADMIN)
FIELDS = frozenset({"name", "sha256", "role", "subject", "requests_per_second"})
DIGEST = re.compile(r"[0-9a-f]{64}")
MAX_HEADER_BYTES = 512


@dataclass(frozen=True, slots=True)
class Key:
    """What a key may do; `subject` is the only customer it may do it for, None for all."""

    name: str
    role: Role
    subject: str | None = None
    requests_per_second: float | None = None

    @property
    def rank(self) -> int:
        """Position of the role among all."""
        return RANK[self.role]


class Keyring:
    """Keys by their digest. Without any, requests of this machine need none."""

    def __init__(self, keys: Mapping[str, Key] | None = None) -> None:
        self._keys = dict(keys or {})

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, authorization: bytes | None) -> Key | None:
        """The key that a header carries; None if there is none or it is wrong.

        Comparing digests tells nothing about the key, however long it takes.
        """
        if authorization is None or len(authorization) > MAX_HEADER_BYTES:
            return None
        scheme, _, secret = authorization.partition(b" ")
        if scheme.lower() != b"bearer":
            return None
        return self._keys.get(sha256(secret.strip()).hexdigest())


def digest(secret: str) -> str:
    """What the file keeps of a key."""
    return sha256(secret.encode()).hexdigest()


def read_keys(path: Path | None) -> Keyring:
    """The keys of the file; none without one. Raises `InvalidSetting` naming the entry that is wrong."""
    if path is None:
        return Keyring()
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidSetting(SETTING, str(path), f"it cannot be read ({type(error).__name__})") from error
    entries = content.get("keys") if isinstance(content, dict) and set(content) == {"keys"} else None
    if not isinstance(entries, list) or not entries:
        raise InvalidSetting(SETTING, str(path), "it needs a list `keys` with at least one entry, no more")
    keys: dict[str, Key] = {}
    names: set[str] = set()
    for number, entry in enumerate(entries, 1):
        problem = _problem(entry)
        if problem is None and (entry["sha256"] in keys or entry["name"] in names):
            problem = "its name or its sha256 appears twice"
        if problem is not None:
            raise InvalidSetting(SETTING, str(path), f"entry {number}: {problem}")
        names.add(entry["name"])
        keys[entry["sha256"]] = _key(entry)
    return Keyring(keys)


def _problem(entry: Any) -> str | None:
    """Why an entry of the file cannot be used, None if it can."""
    if not isinstance(entry, dict) or not {"name", "sha256", "role"} <= entry.keys() <= FIELDS:
        return f"give name, sha256 and role, and of the others only {', '.join(sorted(FIELDS))}"
    if not isinstance(entry["name"], str) or not entry["name"]:
        return "name is a text"
    if not isinstance(entry["sha256"], str) or not DIGEST.fullmatch(entry["sha256"]):
        return "sha256 is 64 hexadecimal digits in lower case, in quotes"
    if entry["role"] not in ROLES:
        return f"role={entry['role']!r} is none of {', '.join(ROLES)}"
    subject, rate = entry.get("subject", "x"), entry.get("requests_per_second", 1)
    if isinstance(subject, bool) or not isinstance(subject, str | int) or subject == "":
        return "subject is the id of a customer"
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate <= 1_000_000:
        return "requests_per_second is a number above 0"
    return None


def _key(entry: Mapping[str, Any]) -> Key:
    subject = entry.get("subject")
    return Key(
        entry["name"],
        Role(entry["role"]),
        None if subject is None else str(subject),
        entry.get("requests_per_second"),
    )


def add_entry(path: Path, entry: Mapping[str, Any]) -> None:
    """Write the file with one entry more; readable by its owner only."""
    entries = []
    if path.exists():
        read_keys(path)
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))["keys"]
    text = yaml.safe_dump({"keys": [*entries, dict(entry)]}, sort_keys=False, allow_unicode=True)
    beside = path.with_name(f"{path.name}.new")
    beside.touch(mode=0o600)
    beside.write_text(text, encoding="utf-8")
    read_keys(beside)
    beside.replace(path)


def main(arguments: list[str] | None = None) -> None:
    """Make a key: print it once, and its entry (or add that to a file)."""
    parser = argparse.ArgumentParser(prog="python -m serving.access.keys", description="Make an API key.")
    parser.add_argument("--name", required=True, help="what the key is for")
    parser.add_argument("--role", required=True, choices=[role.value for role in ROLES])
    parser.add_argument("--subject", help="the only customer that the key may be used for")
    parser.add_argument("--add-to", type=Path, metavar="FILE", help="the file of ATTUNE_API_KEYS_FILE")
    options = parser.parse_args(arguments)
    secret = f"attune_{secrets.token_urlsafe(32)}"
    entry = {"name": options.name, "sha256": digest(secret), "role": options.role}
    if options.subject is not None:
        entry["subject"] = options.subject
    if options.add_to is None:
        sys.stdout.write(f"# the entry for {SETTING}:\n{yaml.safe_dump([entry], sort_keys=False)}")
    else:
        try:
            add_entry(options.add_to, entry)
        except InvalidSetting as error:
            parser.exit(1, f"error: {error}\n")
    sys.stdout.write(f"# the key; it is shown this once:\n{secret}\n")


if __name__ == "__main__":
    main()
