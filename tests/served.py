"""The application as it is served, middleware included, in a home of its own, over a fake online store."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import yaml
from fastapi import FastAPI

from feature_repo.layout import Home
from serving.access.keys import digest
from serving.api.application import connect, create_application
from serving.people.profile import ProfileView
from serving.releases import serve_form
from serving.requests import RequestMiddleware
from serving.runtime import Runtime, open_runtime
from serving.settings import Settings, read_settings
from tests.fakes import FakeUserStore, tiny_release

PROFILE = ProfileView(("feature_at", "order_count"), ("feature_at", "clv_90d"), lambda values, at: {})
ROWS: dict[str, dict[str, dict[str, Any]]] = {"user_behavior": {"batch-only": {"order_count": 3}}}


@dataclass(frozen=True)
class Served:
    """A running application, a client of it, and what it runs on."""

    client: httpx.AsyncClient
    runtime: Runtime
    application: FastAPI
    settings: Settings


@asynccontextmanager
async def served(
    root: Path, client_address: str = "127.0.0.1", env: Mapping[str, str] | None = None, **changes: Any
) -> AsyncIterator[Served]:
    """Start everything with these settings; the client is closed and all is stopped at the end."""
    # Patience: a test machine may be busy, and none of these tests is about slowness.
    patient = {"database_deadline_ms": 10_000, **changes}
    settings = replace(read_settings(env or {}), home=Home(root), **patient)
    store = FakeUserStore(ROWS)
    runtime = await open_runtime(settings, serve_form(tiny_release()), lambda: store, PROFILE)
    application = create_application()
    connect(application, runtime)
    app = RequestMiddleware(application, application.state)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False, client=(client_address, 1234))
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            yield Served(client, runtime, application, settings)
    finally:
        await runtime.close()


def write_keys(path: Path, **keys: tuple[str, str | None]) -> Path:
    """A file of keys: secret -> role and subject. The secret is its own name."""
    entries = []
    for secret, (role, subject) in keys.items():
        entry = {"name": secret, "sha256": digest(secret), "role": role}
        entries.append(entry if subject is None else {**entry, "subject": subject})
    path.write_text(yaml.safe_dump({"keys": entries}))
    return path
