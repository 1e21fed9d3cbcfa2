"""Sending e-mail through an SMTP server that the operator configured."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Iterable
from contextlib import contextmanager
from email.message import EmailMessage
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from feature_repo.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMEOUT_SECONDS = 20.0
SCHEMES = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}


@contextmanager
def smtp_server(url: str) -> Iterator[smtplib.SMTP]:
    """A connection, logged in where the address has a user; raises `DeliveryError` naming the host."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or SCHEMES[parts.scheme]
    try:
        if parts.scheme == "smtps":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                host, port, timeout=TIMEOUT_SECONDS, context=ssl.create_default_context()
            )
        else:
            server = smtplib.SMTP(host, port, timeout=TIMEOUT_SECONDS)
        with server:
            if parts.scheme == "smtp+starttls":
                server.starttls(context=ssl.create_default_context())
            if parts.username:
                server.login(unquote(parts.username), unquote(parts.password or ""))
            yield server
    except (smtplib.SMTPException, OSError) as error:
        raise DeliveryError(
            f"the mail server {host}:{port} refused ({' '.join(str(error).split())})"
        ) from error


def send_mail(url: str, messages: Iterable[EmailMessage]) -> None:
    """Send all messages over one connection; raises `DeliveryError` at the first that is refused."""
    with smtp_server(url) as server:
        for message in messages:
            server.send_message(message)


def smtp_remedy(text: str) -> str | None:
    """What to write instead of a mail server's address that cannot be used; None if it can, or is empty."""
    parts = urlsplit(text)
    if not text or (parts.scheme in SCHEMES and parts.hostname):
        return None
    allowed = ", ".join(f"{scheme}://" for scheme in SCHEMES)
    return f"use user:password@host:port behind one of {allowed}"
