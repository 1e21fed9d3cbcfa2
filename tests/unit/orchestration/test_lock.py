"""One run at a time in one home."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestration.errors import HomeLocked
from orchestration.lock import hold, holder


def test_a_second_holder_is_refused_and_told_who_works(tmp_path: Path) -> None:
    path = tmp_path / "home" / "run.lock"
    with hold(path):
        assert holder(path) == str(os.getpid())
        with (
            pytest.raises(HomeLocked, match=rf"process {os.getpid()}.*another ATTUNE_HOME") as caught,
            hold(path),
        ):
            pass
    assert caught.value.exit_code == 3


def test_the_lock_is_free_after_the_block_even_if_it_failed(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    with pytest.raises(ValueError, match="broken"), hold(path):
        raise ValueError("broken")
    with hold(path):
        assert holder(path) == str(os.getpid())
    assert holder(path) is None


def test_nobody_holds_what_does_not_exist(tmp_path: Path) -> None:
    assert holder(tmp_path / "run.lock") is None


def test_a_killed_holder_leaves_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    script = (
        "import sys, time, pathlib; from orchestration.lock import hold\n"
        "with hold(pathlib.Path(sys.argv[1])):\n    print('held', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        with pytest.raises(HomeLocked, match=f"process {child.pid}"), hold(path):
            pass
        child.kill()
        child.wait()
    with hold(path):
        pass
