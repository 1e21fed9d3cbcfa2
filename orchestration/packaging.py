"""A release in BentoML's model store, with a Bento of the service for `bentoml serve` and `containerize`.

To load BentoML and the service takes longer than the work. `packaging_beside` has a process of its own load
them while the release is written, and work while customers are scored; whoever calls `package` then waits for
it, or does what it left undone.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from threading import Thread

from feature_repo.layout import Home
from orchestration.completion import is_packaged, note_packaged
from orchestration.garbage import collect_rarely
from training.artifacts import Release, load_release

# What the service looks for in BentoML's model store, and the service itself: by name, never imported here.
BENTO_MODEL = "attune_release"
BENTO = "personalization"
SERVICE = "serving.service:Personalization"
SHIPPED = ("serving", "training", "feature_repo")
LOCK, README = "requirements.lock", "README.md"
ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def packaging_beside(home: Home) -> Iterator[Callable[[str], None]]:
    """A process that packages the release whose id it is told; it ends by itself, at once if it is told none.

    What it fails at fails again, with its reason, in whoever needs the package.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestration.packaging", str(home.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        bufsize=0,
    )
    told = process.stdin
    assert told is not None

    def tell(release_id: str) -> None:
        with suppress(BrokenPipeError):  # it died, and `package` does its work
            told.write(release_id.encode())

    try:
        yield tell
    finally:
        told.close()
        Thread(target=process.wait, daemon=True).start()


def main() -> None:
    """The other process."""
    collect_rarely()
    import_module("bentoml")
    import_module(SERVICE.partition(":")[0])
    release_id = sys.stdin.read()
    if release_id:
        home = Home(Path(sys.argv[1]))
        package(home, load_release(home.release(release_id)))


def package(home: Home, release: Release) -> dict[str, str]:
    """The release in BentoML's model store, and a Bento of the service with it; returns both tags.

    Done once for each release. What a killed process left half copied in the store is made again: only
    what our note says to be complete is reused.
    """
    tags = _tags(release.release_id)
    with _alone(home):
        if not is_packaged(home, tags) or not _in_store(tags):
            import_release(release, tags["bento_model"])
            build_bento(release.release_id, tags["bento_model"])
            note_packaged(home, tags)
    return tags


@contextmanager
def _alone(home: Home) -> Iterator[None]:
    """One process at a time; others wait. The kernel drops the lock with the process."""
    descriptor = os.open(home.releases, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _tags(release_id: str) -> dict[str, str]:
    return {"bento_model": f"{BENTO_MODEL}:{release_id}", "bento": f"{BENTO}:{release_id}"}


def import_release(release: Release, tag: str) -> None:
    """Copies the release into BentoML's model store."""
    import bentoml
    from bentoml.exceptions import NotFound

    with suppress(NotFound):
        bentoml.models.delete(tag)
    labels = {"data_until": release.manifest.data_until.isoformat()}
    with bentoml.models.create(tag, labels=labels, metadata=release.manifest.model_versions) as model:
        shutil.copytree(release.root, model.path, dirs_exist_ok=True)


def build_bento(release_id: str, model_tag: str) -> None:
    """A Bento for `bentoml serve` and `bentoml containerize`.

    Versions come from our lock file, so that building asks no index.
    """
    import bentoml
    from bentoml.exceptions import NotFound

    with suppress(NotFound):
        bentoml.delete(f"{BENTO}:{release_id}")
    # BentoML looks at every file of its context, the installation's seventy thousand too: give it ours alone.
    # What it imports from there stays loaded, so the service is loaded from its own place before.
    import_module(SERVICE.partition(":")[0])
    with tempfile.TemporaryDirectory() as context:
        for name in SHIPPED:
            shutil.copytree(ROOT / name, Path(context, name), ignore=shutil.ignore_patterns("__pycache__"))
        for name in (LOCK, README):
            shutil.copy(ROOT / name, context)
        bentoml.bentos.build(
            SERVICE,
            name=BENTO,
            version=release_id,
            models=[model_tag],
            python={"requirements_txt": LOCK, "lock_packages": False},
            build_ctx=context,
        )


def _in_store(tags: Mapping[str, str]) -> bool:
    import bentoml
    from bentoml.exceptions import NotFound

    try:
        bentoml.models.get(tags["bento_model"])
        bentoml.get(tags["bento"])
    except NotFound:
        return False
    return True


if __name__ == "__main__":
    main()
