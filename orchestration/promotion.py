"""What people decide about releases: promote what the gate refused, go back. Signed, and kept for good.

Going back is the pointer first: the service follows it within a second, and leaves lists of withdrawn
releases out of its answers (`releases/withdrawn.json`); so what scoring needs is imported only then.
Champions follow, so that the next run compares with what is served. Then every customer is ranked anew by the
models of the release that is current again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, Any

from feature_repo.layout import Home
from orchestration.completion import note_released
from orchestration.errors import GateRefused, NothingToDo, UnknownRelease, WrongRequest
from orchestration.kinds import KINDS
from orchestration.resources import Features, Models, erased_now
from orchestration.settings import Settings
from training.artifacts import (
    BrokenRelease,
    Manifest,
    current_release_id,
    load_release,
    point_to_release,
    read_manifest,
    read_withdrawn,
    write_withdrawn,
)

if TYPE_CHECKING:
    from orchestration.predicting import Prediction

HISTORY = "history.jsonl"
FORCED_BY, FORCED_REASON, FORCED_AT = "attune.forced_by", "attune.forced_reason", "attune.forced_at"
LONGEST_TEXT = 500

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Signature:
    """Who decides, and why; neither may be empty."""

    by: str
    reason: str

    def __post_init__(self) -> None:
        for option, text in (("--by", self.by), ("--reason", self.reason)):
            if not text.strip() or len(text) > LONGEST_TEXT:
                raise WrongRequest(f"{option} is empty or too long: use 1 to {LONGEST_TEXT} characters.")


def roll_back(settings: Settings, signature: Signature, release_id: str | None, tell: Tell) -> str:
    """Make an earlier release current again; the one before the present one unless `release_id` names it.

    Raises NothingToDo if there is no earlier one, and UnknownRelease. Returns the id.
    """
    started = monotonic()
    home = settings.home
    present = current_release_id(home.current_release)
    target = _release_to_go_back_to(home, present, release_id)
    try:
        release = load_release(home.release(target))
    except BrokenRelease as error:
        raise UnknownRelease(f"release {target} cannot be served: {error}") from error
    withdrawn = _later_than(home, release.manifest)
    write_withdrawn(home.withdrawn_releases, (read_withdrawn(home.withdrawn_releases) | withdrawn) - {target})
    point_to_release(home.current_release, target)
    record(home, "rolled back", target, signature, before=present)
    tell(f"Release {target} is current ({monotonic() - started:.1f} s); the service follows within a second.")
    restore_champions(settings, release.manifest)
    tell(f"Champions are those of the release again ({monotonic() - started:.1f} s).")
    from orchestration.data import Data
    from orchestration.predicting import predict_with

    data = Data.published(home)
    _publish(settings, predict_with(release, data, settings, Features(settings), Models(settings)))
    note_released(home, data.manifest.id, target)
    tell(f"Every customer is scored by its models ({monotonic() - started:.1f} s).")
    return target


def restore_champions(settings: Settings, manifest: Manifest) -> None:
    """The aliases of the registry say what is served; a kind that the release does not have has none."""
    registry = Models(settings).open()
    for kind in KINDS:
        version = manifest.model_versions.get(kind)
        if version is None:
            registry.remove_champion(kind)
        else:
            registry.make_champion(registry.version(kind, version), {})


def force_promotion(
    settings: Settings, signature: Signature, kind: str, version: str | None, tell: Tell
) -> str:
    """Make a refused version champion, and release it; the challenger unless `version` names another.

    Raises NothingToDo without such a version, WrongRequest for an unknown kind or what is champion already.
    Returns the release's id.
    """
    from orchestration.data import Data
    from orchestration.predicting import predict
    from orchestration.releasing import build_release, make_current

    if kind not in KINDS:
        raise WrongRequest(f"KIND={kind!r} is no kind of model: use one of {', '.join(KINDS)}.")
    registry = Models(settings).open()
    found = registry.challenger(kind) if version is None else registry.find_version(kind, version)
    if found is None:
        raise NothingToDo(f"{kind} has no version {version or ''} to promote; `attune ui` lists them.")
    champion = registry.champion(kind)
    if champion is not None and champion.version == found.version:
        raise WrongRequest(f"version {found.version} of {kind} is the champion already: nothing to force.")
    signed = {FORCED_BY: signature.by, FORCED_REASON: signature.reason, FORCED_AT: _now()}
    registry.make_champion(found, signed)
    data = Data.published(settings.home)
    before = current_release_id(settings.home.current_release)
    manifest = build_release(data, Models(settings))
    _publish(settings, predict(data, settings, Features(settings), Models(settings)))
    make_current(data, settings.bentoml_home, settings.keep_releases)
    detail = {"kind": kind, "version": found.version, "refused_by": registry.decision(found).refused_by}
    record(settings.home, "forced", manifest.release_id, signature, before=before, **detail)
    tell(f"Version {found.version} of {kind} is champion by {signature.by}; release {manifest.release_id}.")
    return manifest.release_id


def record(home: Home, act: str, release_id: str, signature: Signature, **details: Any) -> None:
    """Add a line to the history of releases, which is never rewritten."""
    line = {
        "at": _now(),
        "act": act,
        "release_id": release_id,
        "by": signature.by,
        "reason": signature.reason,
        **details,
    }
    with (home.releases / HISTORY).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def read_history(home: Home) -> list[dict[str, Any]]:
    """What people decided, in order."""
    path = home.releases / HISTORY
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def _publish(settings: Settings, prediction: Prediction) -> None:
    """As the asset `models/predictions`: nothing is published that breaks its blocking rules."""
    from orchestration.predicting import publish_predictions
    from orchestration.quality.checks import blocking_failures
    from orchestration.quality.evaluation import run_suite
    from orchestration.quality.suites import predictions as prediction_rules

    failures = blocking_failures(run_suite(prediction.checked, prediction_rules()))
    if failures:
        raise GateRefused(f"predictions break their rules, none was published: {'; '.join(failures)}")
    publish_predictions(settings.home, Features(settings), prediction, erased_now(settings))


def _release_to_go_back_to(home: Home, present: str | None, wanted: str | None) -> str:
    kept = _manifests(home)
    if wanted is not None:
        if wanted not in kept:
            raise UnknownRelease(f"release {wanted!r} is not kept; there are {', '.join(kept) or 'none'}.")
        if wanted == present:
            raise WrongRequest(f"release {wanted} is current already: name an earlier one.")
        return wanted
    withdrawn = read_withdrawn(home.withdrawn_releases)
    if present is None or present not in kept:
        raise NothingToDo("no release is current, so there is none to go back from; `attune run` makes one.")
    earlier = [
        each
        for each, manifest in kept.items()
        if manifest.created_at < kept[present].created_at and each not in withdrawn
    ]
    if not earlier:
        raise NothingToDo(f"no release before {present} is kept (ATTUNE_KEEP_RELEASES); none to go back to.")
    return max(earlier, key=lambda each: kept[each].created_at)


def _later_than(home: Home, manifest: Manifest) -> frozenset[str]:
    """Releases that going back to this one withdraws: all that were made after it."""
    found = _manifests(home).items()
    return frozenset(each for each, other in found if other.created_at > manifest.created_at)


def _manifests(home: Home) -> dict[str, Manifest]:
    """The releases on disk by id, oldest first."""
    paths = [path for path in home.releases.glob("*/manifest.json") if not path.parent.name.startswith(".")]
    found = [read_manifest(path.parent) for path in paths]
    return {each.release_id: each for each in sorted(found, key=lambda each: each.created_at)}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
