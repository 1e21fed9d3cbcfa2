"""Posting JSON to an address that the operator configured, with a signature where a secret is shared."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from feature_repo.errors import DeliveryError

TIMEOUT_SECONDS = 10.0
SIGNATURE = "X-Attune-Signature"


class _NoRedirect(HTTPRedirectHandler):
    """An address that redirects is not the one that was configured."""

    def redirect_request(self, *_: Any) -> None:
        return None


def post_json(url: str, payload: Mapping[str, Any], secret: str = "") -> None:
    """Post once; raises `DeliveryError` with the host and what it answered, never with the path.

    With a secret the header X-Attune-Signature is `sha256=` and the HMAC-SHA256 of the body in hex, so that
    the receiver can tell who sent it.
    """
    body = json.dumps(payload).encode()
    headers = {"Content-Type": "application/json"}
    if secret:
        headers[SIGNATURE] = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    host = urlsplit(url).hostname
    try:
        with build_opener(_NoRedirect).open(
            Request(url, body, headers, method="POST"), timeout=TIMEOUT_SECONDS
        ):
            pass
    except HTTPError as error:
        raise DeliveryError(f"{host} answered {error.code}; check the address and what it expects") from error
    except (URLError, TimeoutError, OSError) as error:
        raise DeliveryError(f"{host} does not answer ({getattr(error, 'reason', error)})") from error


def address_remedy(text: str) -> str | None:
    """What to write instead of an address that cannot be posted to; None if it can, or is empty."""
    if not text or (urlsplit(text).scheme in ("http", "https") and urlsplit(text).hostname):
        return None
    return "use an address such as https://host/path"
