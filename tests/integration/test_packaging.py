"""A process beside packages the release that it is told, or nothing; whoever needs the package gets it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from feature_repo.layout import Home
from orchestration.completion import is_packaged
from orchestration.packaging import packaging_beside
from tests.serving_home import put_release

pytestmark = pytest.mark.integration

PACKAGE = """
import json, sys
from pathlib import Path
from feature_repo.layout import Home
from orchestration.packaging import package
from training.artifacts import load_release
home = Home(Path(sys.argv[1]))
package(home, load_release(home.release(sys.argv[2])))
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    return Home(tmp_path / "home")


def beside() -> list[psutil.Process]:
    children = [one for one in psutil.Process().children() if one.status() != psutil.STATUS_ZOMBIE]
    return [one for one in children if "orchestration.packaging" in one.cmdline()]


def wait_for_its_end() -> None:
    end = time.monotonic() + 120.0
    while beside():
        assert time.monotonic() < end
        time.sleep(0.05)


def in_store(release_id: str) -> bool:
    store = Path(os.environ["BENTOML_HOME"])
    parts = (
        store / "models" / "attune_release" / release_id / "manifest.json",
        store / "bentos" / "personalization" / release_id / "bento.yaml",
    )
    return all(part.is_file() for part in parts)


def tags(release_id: str) -> dict[str, str]:
    return {"bento_model": f"attune_release:{release_id}", "bento": f"personalization:{release_id}"}


def package_here(home: Home, release_id: str) -> None:
    subprocess.run([sys.executable, "-c", PACKAGE, str(home.root), release_id], check=True)


def test_the_release_it_is_told_is_packaged(home: Home) -> None:
    release_id = put_release(home, "one")
    with packaging_beside(home) as tell:
        tell(release_id)
    package_here(home, release_id)  # waits for it, or goes first
    assert is_packaged(home, tags(release_id))
    wait_for_its_end()
    assert in_store(release_id)


def test_told_nothing_it_ends_and_leaves_nothing(home: Home) -> None:
    put_release(home, "one")
    with pytest.raises(ValueError, match="no champion"), packaging_beside(home):
        raise ValueError("no champion")
    wait_for_its_end()
    assert not (home.releases / "packaged.json").exists()


def test_what_a_killed_process_left_undone_is_done(home: Home) -> None:
    release_id = put_release(home, "one")
    with packaging_beside(home) as tell:
        [other] = beside()
        other.kill()
        other.wait()
        tell(release_id)
    package_here(home, release_id)
    assert in_store(release_id)
