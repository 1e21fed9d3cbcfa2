"""Keys, rules, subjects, bodies and rates, each on its own."""

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest
from fastapi import APIRouter, FastAPI
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message

from serving.access.bodies import MAX_BODY_BYTES, MAX_DEPTH, is_too_deep, read_body, replayed
from serving.access.keys import Key, Keyring, digest, main, read_keys
from serving.access.rate_limit import RateLimiter
from serving.access.route_rules import RuleTable, rules_of
from serving.access.security import Access, Role, access, is_loopback
from serving.access.subjects import NotJson, names_only
from serving.errors import InvalidSetting, Refused, UndeclaredAccess
from serving.settings import read_settings

# keys


def test_a_made_key_is_found_by_its_file_and_printed_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "keys.yaml"
    main(["--name", "shop", "--role", "write", "--add-to", str(path)])
    main(["--name", "page of 42", "--role", "read", "--subject", "42", "--add-to", str(path)])
    secrets = [line for line in capsys.readouterr().out.splitlines() if line.startswith("attune_")]
    keys = read_keys(path)
    found = [keys.find(f"Bearer {secret}".encode()) for secret in secrets]
    assert found == [Key("shop", Role.WRITE), Key("page of 42", Role.READ, "42")]
    assert all(secret not in path.read_text() for secret in secrets)
    assert path.stat().st_mode & 0o077 == 0, "for its owner only"
    main(["--name", "x", "--role", "admin"])
    assert "sha256:" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["--name", "shop", "--role", "read", "--add-to", str(path)])
    assert len(read_keys(path)) == 2, "a name is taken once"


@pytest.mark.parametrize(
    "header",
    [None, b"", b"Bearer", b"Bearer ", b"Bearer wrong", b"Basic secret", b"secret", b"Bearer " + b"x" * 600],
)
def test_what_is_no_key_is_found_as_none(header: bytes | None) -> None:
    assert Keyring({digest("secret"): Key("a", Role.READ)}).find(header) is None


def test_the_scheme_may_be_written_in_any_case() -> None:
    assert Keyring({digest("secret"): Key("a", Role.READ)}).find(b"bearer secret") is not None


ENTRY = {"name": "a", "sha256": "0" * 64, "role": "read"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "list `keys`"),
        ("keys: []", "list `keys`"),
        ("keys: [", "cannot be read"),
        ({"keys": [ENTRY], "more": 1}, "list `keys`"),
        ({"keys": [{**ENTRY, "role": "root"}]}, "entry 1: role='root'"),
        ({"keys": [{**ENTRY, "sha256": "abc"}]}, "entry 1: sha256"),
        ({"keys": [{**ENTRY, "key": "secret"}]}, "entry 1: give name"),
        ({"keys": [{**ENTRY, "subject": True}]}, "entry 1: subject"),
        ({"keys": [{**ENTRY, "requests_per_second": 0}]}, "entry 1: requests_per_second"),
        ({"keys": [ENTRY, ENTRY]}, "entry 2: its name or its sha256 appears twice"),
    ],
)
def test_a_file_that_cannot_be_used_names_its_entry(tmp_path: Path, content: Any, words: str) -> None:
    path = tmp_path / "keys.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else orjson.dumps(content))
    with pytest.raises(InvalidSetting, match="ATTUNE_API_KEYS_FILE") as refusal:
        read_keys(path)
    assert words in str(refusal.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match="cannot be read"):
        read_keys(tmp_path / "none.yaml")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::"])
def test_without_keys_only_loopback_may_be_bound(host: str) -> None:
    with pytest.raises(InvalidSetting, match="ATTUNE_API_KEYS_FILE"):
        read_settings({"API_HOST": host})
    assert read_settings({"API_HOST": host, "ATTUNE_API_KEYS_FILE": "keys.yaml"}).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.9.9.9"])
def test_loopback_needs_no_keys(host: str) -> None:
    assert is_loopback(read_settings({"API_HOST": host}).host)


@pytest.mark.parametrize("host", ["10.0.0.1", "shop.example", "::ffff:10.0.0.1", "0.0.0.0"])
def test_other_addresses_are_not_loopback(host: str) -> None:
    assert not is_loopback(host)


# rules

TABLE = RuleTable(
    [
        ("GET", "/a/{id}", Access(Role.READ)),
        ("GET", "/a/fixed", Access(Role.PUBLIC)),
        ("POST", "/a/{id}", Access(Role.WRITE)),
        ("GET", "/a/{id}/b/{other}", Access(Role.READ, ("path.id",))),
        ("POST", "/a/fixed/b", Access(Role.ADMIN)),
        ("GET", "/static/*", Access(Role.PUBLIC)),
        ("GET", "/", Access(Role.PUBLIC)),
    ]
)


@pytest.mark.parametrize(
    ("method", "path", "role"),
    [
        ("GET", "/a/1", Role.READ),
        ("GET", "/a/fixed", Role.PUBLIC),
        ("POST", "/a/fixed", Role.WRITE),
        ("GET", "/a/fixed/b/c", Role.READ),
        ("POST", "/a/fixed/b", Role.ADMIN),
        ("GET", "/static/x/y.js", Role.PUBLIC),
        ("GET", "/", Role.PUBLIC),
        ("POST", "/a/1/b", None),
        ("PUT", "/a/1", None),
        ("GET", "/a/", None),
        ("GET", "/a//b/c", None),
        ("GET", "/a/1/", None),
        ("GET", "//a/1", None),
        ("GET", "/a", None),
        ("POST", "/static/x", None),
        ("get", "/a/1", None),
        ("GET", "", None),
    ],
)
def test_a_rule_is_found_by_method_and_path(method: str, path: str, role: Role | None) -> None:
    found = TABLE.find(method, path)
    assert (found and found.role) == role


def test_what_is_offered_and_what_the_parameters_are() -> None:
    assert TABLE.methods("/a/1") == ["GET", "POST"]
    assert TABLE.methods("/nowhere") == []
    assert TABLE.path_params("GET", "/a/1/b/2") == {"id": "1", "other": "2"}


def test_a_route_without_a_rule_stops_the_start() -> None:
    application, router = FastAPI(), APIRouter(prefix="/x")
    router.add_api_route("/declared", lambda: None, **access(Role.READ))
    router.add_api_route("/forgotten", lambda: None, methods=["PUT"])
    application.include_router(router)
    with pytest.raises(UndeclaredAccess, match="PUT /x/forgotten"):
        rules_of(application)


# subjects


@pytest.mark.parametrize(
    ("places", "query", "body", "is_own"),
    [
        (["path.id"], b"", None, True),
        (["path.other"], b"", None, False),
        (["query.user_id"], b"user_id=42", None, True),
        (["query.user_id"], b"", None, False),
        (["query.user_id"], b"user_id=42&user_id=43", None, False),
        (["query.user_id"], b"user%5Fid=43&user_id=42", None, False),
        (["path.id", "query.user_id"], b"user_id=43", None, False),
        (["body.user_id"], b"", {"user_id": "42"}, True),
        (["body.user_id"], b"", {"user_id": 42}, True),
        (["body.user_id"], b"", {"user_id": True}, False),
        (["body.user_id"], b"", {"user_id": ["42"]}, False),
        (["body.user_id"], b"", {"user_id": None}, False),
        (["body.user_id"], b"", {}, False),
        (["body.user_id"], b"", [], False),
        (["body.user_id", "body.customer_id"], b"", {"user_id": "42", "customer_id": "43"}, False),
        (["body.user_id", "body.customer_id"], b"", {"user_id": "42", "customer_id": "42"}, True),
        (["body.data.user_id"], b"", {"data": {"user_id": "42"}}, True),
        (["body.ids[]"], b"", {"ids": ["42", 42]}, True),
        (["body.ids[]"], b"", {"ids": ["42", "43"]}, False),
        (["body.ids[]"], b"", {"ids": []}, False),
        (["body.ids[]"], b"", {"ids": "43"}, False),
        (["body.e[].user_id"], b"", {"e": [{"user_id": "42"}, {"user_id": "42"}]}, True),
        (["body.e[].user_id"], b"", {"e": [{"user_id": "42"}, {"anonymous_id": "x"}]}, False),
        (["body.e[].user_id"], b"", {"e": [{"user_id": "42"}, "x"]}, False),
        (
            ["body.e[].user_id", "body.e[].customer_id"],
            b"",
            {"e": [{"user_id": "42"}, {"customer_id": 42}]},
            True,
        ),
        (
            ["body.e[].user_id", "body.e[].customer_id"],
            b"",
            {"e": [{"user_id": "42", "customer_id": 43}]},
            False,
        ),
    ],
)
def test_a_request_is_about_one_person_alone_or_it_is_not(
    places: list[str], query: bytes, body: Any, is_own: bool
) -> None:
    raw = None if body is None else orjson.dumps(body)
    assert names_only("42", places, {"id": "42", "other": "43"}, query, raw) is is_own


def test_a_body_that_is_no_json_is_about_nobody() -> None:
    with pytest.raises(NotJson):
        names_only("42", ["body.user_id"], {}, b"", b"{user_id: 42}")


# bodies


def sending(*parts: bytes, pause: float = 0.0) -> Any:
    messages: list[Message] = [
        {"type": "http.request", "body": part, "more_body": index < len(parts) - 1}
        for index, part in enumerate(parts)
    ]

    async def receive() -> Message:
        await asyncio.sleep(pause)
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    return receive


def refusal_of(*parts: bytes, pause: float = 0.0, seconds: float = 1.0) -> tuple[int, str] | None:
    try:
        asyncio.run(read_body(sending(*parts, pause=pause), seconds))
    except Refused as refusal:
        return refusal.status, str(refusal)
    return None


def test_a_body_in_pieces_is_whole_and_given_again() -> None:
    async def scenario() -> None:
        receive = sending(b'{"a":', b"1", b"}")
        again = replayed(await read_body(receive), receive)
        assert (await again())["body"] == b'{"a":1}'
        assert (await again())["type"] == "http.disconnect"

    asyncio.run(scenario())


def test_a_body_is_refused_for_size_depth_slowness_and_half_characters() -> None:
    assert refusal_of(b" " * MAX_BODY_BYTES) is None
    for parts in ([b" " * (MAX_BODY_BYTES + 1)], [b" " * MAX_BODY_BYTES, b" "]):
        status, text = refusal_of(*parts) or (0, "")
        assert (status, str(MAX_BODY_BYTES) in text) == (413, True)
    assert (refusal_of(b"[" * 100_000) or (0,))[0] == 422
    assert (refusal_of(b"{}", b"", pause=0.2, seconds=0.05) or (0,))[0] == 408
    for half in (rb'{"a": "\ud800"}', rb'{"a": "\uDC00x"}', rb'{"\ud800": 1}'):
        assert (refusal_of(half) or (0,))[0] == 422
    assert refusal_of(rb'{"a": "\ud83d\ude00"}') is None
    assert refusal_of(rb'{"a": "\\ud800"}') is None, "a backslash and five letters"


def test_a_client_that_leaves_has_sent_nothing() -> None:
    async def receive() -> Message:
        return {"type": "http.disconnect"}

    with pytest.raises(Refused, match="left"):
        asyncio.run(read_body(receive))


def depth_of(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max((depth_of(each) for each in value.values()), default=0)
    if isinstance(value, list):
        return 1 + max((depth_of(each) for each in value), default=0)
    return 0


JSON = st.recursive(
    st.none() | st.booleans() | st.text('[]{}"\\a', max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text('[{"\\', max_size=3), inner, max_size=3)
    ),
    max_leaves=60,
)


@given(JSON, st.integers(0, 40))
def test_depth_is_that_of_the_document_whatever_its_strings_hold(value: Any, wraps: int) -> None:
    for _ in range(wraps):
        value = [value, "]]]"]
    assert is_too_deep(orjson.dumps(value)) is (depth_of(value) > MAX_DEPTH)


# rates


def test_a_bucket_lets_a_burst_pass_and_then_the_rate() -> None:
    now = [0.0]
    limiter = RateLimiter(10, clock=lambda: now[0])
    scope = {"client": ("10.0.0.1", 1)}
    for _ in range(20):
        limiter.check(None, scope)
    with pytest.raises(Refused) as refusal:
        limiter.check(None, scope)
    assert (refusal.value.status, refusal.value.headers["Retry-After"]) == (429, "1")
    limiter.check(None, {"client": ("10.0.0.2", 1)})
    limiter.check(Key("shop", Role.READ), scope)
    now[0] += 0.1
    limiter.check(None, scope)
    with pytest.raises(Refused):
        limiter.check(None, scope)


def test_a_key_may_have_a_rate_of_its_own_and_workers_share_it() -> None:
    limiter = RateLimiter(0, workers=2, clock=lambda: 0.0)
    key = Key("slow", Role.READ, requests_per_second=4)
    for _ in range(4):
        limiter.check(key, {})
    with pytest.raises(Refused, match="more than 4 requests"):
        limiter.check(key, {})
    for _ in range(1000):
        limiter.check(Key("free", Role.READ), {})


def test_a_million_addresses_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.access.rate_limit.MAX_CALLERS", 100)
    limiter = RateLimiter(10)
    for number in range(1000):
        limiter.check(None, {"client": (f"10.0.{number // 256}.{number % 256}", 1)})
    assert len(limiter._buckets) <= 101
