"""Alerts reach a real webhook and a real mail server, once; what cannot be told is told the next time."""

import hashlib
import hmac
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aiosmtpd.controller import Controller

from feature_repo.errors import DeliveryError
from feature_repo.mail import send_mail
from feature_repo.webhook import SIGNATURE, post_json
from orchestration.monitoring.series import KPIS
from orchestration.monitoring.watching import look
from orchestration.settings import read_settings
from tests.servers import free_port

pytestmark = pytest.mark.integration
TODAY = date(2026, 4, 11)


class Inbox:
    """What the servers of this test received; `status` is what the webhook answers."""

    def __init__(self) -> None:
        self.posts: list[tuple[dict[str, Any], str | None, bytes]] = []
        self.mails: list[Any] = []
        self.status = 204

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - the library's name
        self.mails.append(message_from_bytes(envelope.content))
        return "250 OK"


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def webhook(inbox: Inbox) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            inbox.posts.append((json.loads(body), self.headers.get(SIGNATURE), body))
            self.send_response(inbox.status)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/hook/secret-path"
        server.shutdown()


@pytest.fixture
def smtp(inbox: Inbox) -> Iterator[str]:
    port = free_port()
    controller = Controller(inbox, hostname="127.0.0.1", port=port)
    controller.start()
    yield f"smtp://127.0.0.1:{port}"
    controller.stop()


def publish(home: Path, last_revenue: float) -> None:
    """A hundred days of a steady shop, and what the last one earned."""
    folder = home / "marts" / "versions" / "one" / "daily_kpis"
    folder.mkdir(parents=True, exist_ok=True)
    if not (home / "marts" / "current").exists():
        (home / "marts" / "current").symlink_to(home / "marts" / "versions" / "one")
    days = [TODAY - timedelta(days=back) for back in range(100, 0, -1)]
    columns: dict[str, list[Any]] = {figure.name: [100.0] * 100 for figure in KPIS}
    columns["revenue"] = [100.0] * 99 + [last_revenue]
    pq.write_table(pa.table({"event_date": pa.array(days, pa.date32()), **columns}), folder / "all.parquet")


def test_an_alert_is_told_once_everywhere_and_its_end_too(
    tmp_path: Path, inbox: Inbox, webhook: str, smtp: str
) -> None:
    environment = {
        "ATTUNE_HOME": str(tmp_path),
        "ATTUNE_ALERT_WEBHOOK": webhook,
        "ATTUNE_ALERT_EMAIL": "ops@shop.example, cto@shop.example",
        "ATTUNE_SMTP_URL": smtp,
    }
    settings = read_settings(environment)
    publish(tmp_path, 3.0)
    found = look(settings, TODAY)
    assert [alert.key for alert in found.open_alerts("business")] == ["revenue:below"]
    look(settings, TODAY)
    assert len(inbox.posts) == len(inbox.mails) == 1
    assert inbox.posts[0][0]["subject"] == "Attune: 1 unusual figures (business)"
    assert "97% below" in inbox.posts[0][0]["text"]
    assert inbox.mails[0]["To"] == "ops@shop.example, cto@shop.example"
    assert "Look at mart daily_kpis" in inbox.mails[0].get_payload(decode=True).decode()
    publish(tmp_path, 100.0)
    look(settings, TODAY)
    look(settings, TODAY)
    assert [post["subject"] for post, _, _ in inbox.posts[1:]] == ["Attune: 1 figures are usual again"]


def test_what_could_not_be_told_is_told_the_next_time(tmp_path: Path, inbox: Inbox, webhook: str) -> None:
    settings = read_settings({"ATTUNE_HOME": str(tmp_path), "ATTUNE_ALERT_WEBHOOK": webhook})
    publish(tmp_path, 3.0)
    inbox.status = 500
    assert look(settings, TODAY).undelivered == [
        "the webhook of ATTUNE_ALERT_WEBHOOK was not told: "
        "127.0.0.1 answered 500; check the address and what it expects"
    ]
    inbox.status = 204
    assert look(settings, TODAY).undelivered == []
    look(settings, TODAY)
    assert len(inbox.posts) == 2


def test_a_day_that_is_not_over_is_not_judged(tmp_path: Path) -> None:
    publish(tmp_path, 3.0)
    settings = read_settings({"ATTUNE_HOME": str(tmp_path)})
    assert look(settings, TODAY - timedelta(days=1)).ledger == []
    assert len(look(settings, datetime(2026, 4, 11, tzinfo=UTC).date()).ledger) == 1


def test_a_signature_tells_who_posted(inbox: Inbox, webhook: str) -> None:
    post_json(webhook, {"a": 1}, secret="shared")
    _, signature, body = inbox.posts[0]
    assert signature == "sha256=" + hmac.new(b"shared", body, hashlib.sha256).hexdigest()


def test_errors_name_the_host_and_keep_the_rest_to_themselves(webhook: str) -> None:
    gone = "http://127.0.0.1:9/hook/secret-path"
    with pytest.raises(DeliveryError, match="127.0.0.1") as caught:
        post_json(gone, {})
    assert "secret-path" not in str(caught.value)
    with pytest.raises(DeliveryError, match="mail server 127.0.0.1:9 refused") as refused:
        send_mail("smtp://me:hidden@127.0.0.1:9", [])
    assert "hidden" not in str(refused.value)
