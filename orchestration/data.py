"""What a run sees of the shop: the published marts, and where they end."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from feature_repo.layout import Home
from orchestration.completion import end_of
from orchestration.errors import NothingToDo
from orchestration.marts import MartsManifest, current_manifest
from orchestration.settings import Settings
from training.interactions import Interactions, read_interactions


@dataclass(frozen=True)
class Data:
    """The published marts of a home as one version, up to a day."""

    home: Home
    manifest: MartsManifest
    first: date
    until: date

    @classmethod
    def published(cls, home: Home) -> Data:
        """Raises NothingToDo before the first publish."""
        manifest = current_manifest(home)
        if manifest is None or manifest.data_until is None:
            raise NothingToDo("no tables are published; materialize transforms/marts first.")
        return cls(home, manifest, min(manifest.days), manifest.data_until)

    @property
    def as_of(self) -> datetime:
        """The instant that a model trained on this describes: the end of the last day."""
        return end_of(self.until)

    @property
    def fingerprint(self) -> str:
        """Equal for equal landed events and SQL, whichever run published them."""
        days = {day.isoformat(): content for day, content in sorted(self.manifest.days.items())}
        text = json.dumps([days, self.manifest.code], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def key(self, recipe: str) -> str:
        """Names a training run: the same key, the same landed events, and trained in the same way."""
        return f"{self.fingerprint}-{recipe}"

    def interactions(self) -> Interactions:
        """All that is known of who did what with which item."""
        return read_interactions(self.home.mart_glob("interactions_daily"), self.as_of.date())

    def recipe(self, settings: Settings, *configs: Any) -> str:
        """Names a way of training: the same recipe, the same SQL, configuration and seed."""
        values = [self.manifest.code, settings.seed, *map(repr, configs)]
        return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]
