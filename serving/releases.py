"""The release that is served: load whole, swap atomically, keep the old one when the new one is broken.

A release comes from ATTUNE_HOME (`releases/current` names it, and is watched) or from BentoML's model store
(the one that a Bento carries, which does not change while it runs).
"""

import asyncio
import contextlib
import logging
import re
import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from feature_repo.layout import Home
from serving.decisions.bundle_shelf import BUNDLES, BundleShelf
from serving.decisions.catalogue import CatalogueIndex, index_catalogue
from serving.decisions.segments import PriceBands, price_bands
from serving.errors import NoRelease, UnusableRelease
from serving.metrics import Metrics
from serving.settings import Settings
from training.artifacts import (
    BrokenRelease,
    Relations,
    Release,
    current_release_id,
    load_release,
    read_withdrawn,
)

logger = logging.getLogger(__name__)

BENTO_MODEL = "attune_release"
RETRY_SECONDS = 30.0
KEPT_PAST_RELEASES = 2
RELEASE_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")


@dataclass(frozen=True)
class ServedRelease:
    """One release as the service uses it: the files, and what is worth computing once."""

    release: Release
    model_versions: dict[str, str]
    index: CatalogueIndex
    price_bands: PriceBands | None
    loaded_at: datetime

    @property
    def release_id(self) -> str:
        return self.release.release_id

    @property
    def relations(self) -> Relations:
        """What goes with what, by item position."""
        return self.release.relations

    @cached_property
    def bundles(self) -> BundleShelf:
        """The mined bundles; empty for a release that has none."""
        return BundleShelf.of(self.release.tables.get(BUNDLES))

    @property
    def data_until(self) -> date:
        """Last day of the release's data."""
        return self.release.manifest.data_until

    @property
    def as_of(self) -> datetime:
        """The instant that its features and predictions describe: the end of `data_until`."""
        return datetime.combine(self.data_until, time(), UTC) + timedelta(days=1)

    @property
    def has_outlook(self) -> bool:
        """Whether the view `user_outlook` was filled for it, which releases by older code know nothing of."""
        return self.release.manifest.feature_services.get("serving") != "serving_v1"

    def describe(self, item_id: str) -> dict[str, Any]:
        """Title, category and price of an item; nulls for one that the catalogue does not have."""
        index = self.index
        position = index.position.get(item_id)
        if position is None:
            return {"title": None, "category": None, "price": None}
        return {
            "title": index.title[position],
            "category": index.category[position],
            "price": index.prices[position],
        }


@dataclass(frozen=True, slots=True)
class LoadFailure:
    """A release that could not be loaded, for /health."""

    release_id: str
    problem: str
    at: datetime


def serve_form(release: Release, is_lazy: bool = False) -> ServedRelease:
    """Precompute what requests need. `is_lazy`: what only fold-in needs is prepared aside, meanwhile."""
    known = np.isfinite(release.items.price)
    if is_lazy:
        threading.Thread(
            target=_prepare_fold_in, args=(release,), name="prepare-release", daemon=True
        ).start()
    else:
        _prepare_fold_in(release)
    return ServedRelease(
        release=release,
        model_versions=release.manifest.model_versions,
        index=index_catalogue(release.items, release.popularity, release.relations),
        price_bands=price_bands(release.items.price[known]),
        loaded_at=datetime.now(UTC),
    )


def _prepare_fold_in(release: Release) -> None:
    """The matrix that every fold-in shares; whoever needs it sooner computes it alike."""
    if len(release.factors.item_ids):
        _ = release.factors.gram, release.factors.position


def find_release(settings: Settings, bento_model: str = f"{BENTO_MODEL}:latest") -> Path:
    """The directory of the release to serve; raises `NoRelease` if there is none.

    `bento_model` is the tag in BentoML's model store: that of the Bento that is served, or the latest.
    """
    looked_in: list[str] = []
    if settings.release_source in ("auto", "home"):
        release_id = current_release_id(settings.home.current_release)
        if release_id is not None:
            return settings.home.release(release_id)
        looked_in.append(str(settings.home.releases))
    if settings.release_source in ("auto", "bento"):
        path = _bento_release(bento_model)
        if path is not None:
            return path
        looked_in.append(f"BentoML's model store ({bento_model})")
    raise NoRelease(looked_in)


def read_release(path: Path, is_lazy: bool = False) -> ServedRelease:
    """Load and verify a release directory; raises `UnusableRelease` naming what is wrong with it."""
    try:
        return serve_form(load_release(path), is_lazy)
    except BrokenRelease as error:
        raise UnusableRelease(path.name, str(error)) from error
    except OSError as error:
        raise UnusableRelease(path.name, f"{path} cannot be read ({error})") from error


def _bento_release(tag: str) -> Path | None:
    import bentoml
    from bentoml.exceptions import NotFound

    try:
        return Path(bentoml.models.get(tag).path)
    except NotFound:
        return None


class ReleaseHolder:
    """Holds the served release and follows the pointer file. Its methods run on the event loop."""

    def __init__(self, first: ServedRelease, settings: Settings, metrics: Metrics) -> None:
        self.current = first
        self.failure: LoadFailure | None = None
        self.withdrawn: frozenset[str] = frozenset()
        self._home: Home = settings.home
        self._poll_seconds = settings.release_poll_seconds
        self._is_lazy = "lazy_algorithms" in settings.flags
        self._follows_home = settings.release_source != "bento"
        self._metrics = metrics
        self._retry_at = 0.0
        self._watcher: asyncio.Task[None] | None = None
        self._past: OrderedDict[str, ServedRelease] = OrderedDict()
        metrics.show_release(first.release_id, None)

    def start(self) -> None:
        """Follow `releases/current` from now on, unless the release came from a Bento by request."""
        if self._follows_home:
            self._read_withdrawn()
            self._watcher = asyncio.create_task(self._watch(), name="release-watch")

    async def close(self) -> None:
        """Stop following."""
        if self._watcher is not None:
            self._watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watcher

    async def find(self, release_id: str) -> ServedRelease | None:
        """The current release or a past one that is still kept; None if it is gone or broken."""
        if release_id == self.current.release_id:
            return self.current
        if release_id in self._past:
            return self._past[release_id]
        if not RELEASE_ID.fullmatch(release_id):
            return None
        try:
            found = await asyncio.to_thread(read_release, self._home.release(release_id), self._is_lazy)
        except UnusableRelease:
            return None
        self._keep_past(found)
        return found

    def _keep_past(self, release: ServedRelease) -> None:
        self._past[release.release_id] = release
        while len(self._past) > KEPT_PAST_RELEASES:
            self._past.popitem(last=False)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._poll_seconds)
            await self.refresh()

    async def refresh(self) -> bool:
        """Serve the release that the pointer names, if that is another one. True if it was swapped.

        A release that cannot be loaded leaves the present one in place, is reported once, and is tried again
        when the pointer changes or after half a minute.
        """
        try:
            await asyncio.to_thread(self._read_withdrawn)
            wanted = await asyncio.to_thread(current_release_id, self._home.current_release)
        except OSError as error:
            self._keep_present(self._home.current_release.name, f"pointer cannot be read ({error})")
            return False
        if wanted is None or wanted == self.current.release_id:
            self.failure = None
            return False
        now = asyncio.get_running_loop().time()
        if self.failure is not None and self.failure.release_id == wanted and now < self._retry_at:
            return False
        self._retry_at = now + RETRY_SECONDS
        try:
            loaded = await asyncio.to_thread(partial(read_release, self._home.release(wanted), self._is_lazy))
        except UnusableRelease as error:
            self._keep_present(wanted, error.problem)
            return False
        self._swap(loaded)
        return True

    def _read_withdrawn(self) -> None:
        """Which releases somebody went back from; what cannot be read leaves the list as it is."""
        try:
            self.withdrawn = read_withdrawn(self._home.withdrawn_releases)
        except (OSError, ValueError) as error:
            logger.error("the list of withdrawn releases cannot be read", extra={"problem": str(error)})

    def _swap(self, loaded: ServedRelease) -> None:
        previous, self.current, self.failure = self.current, loaded, None
        self._metrics.release_loads.labels("loaded").inc()
        self._metrics.show_release(loaded.release_id, previous.release_id)
        logger.info("release swapped", extra={"release": loaded.release_id, "previous": previous.release_id})

    def _keep_present(self, release_id: str, problem: str) -> None:
        if self.failure is None or self.failure.release_id != release_id:
            logger.error(
                "new release is broken, the present one stays",
                extra={"release": release_id, "present": self.current.release_id, "problem": problem},
            )
        self._metrics.release_loads.labels("failed").inc()
        self.failure = LoadFailure(release_id, problem, datetime.now(UTC))
