"""What belongs to the repository: its tracked files, or all but ignored ones where git is absent."""

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
IGNORED = {".git", ".venv", ".attune", "__pycache__", "target", "logs", "build"}


def repository_files() -> list[Path]:
    """Tracked files and new ones that are not ignored, existing, sorted."""
    if shutil.which("git") and (ROOT / ".git").exists():
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        names = [name for name in listed.split("\0") if name]
        return sorted(path for name in names if (path := ROOT / name).is_file())
    found = (path for path in ROOT.rglob("*") if path.is_file())
    return sorted(path for path in found if not _is_ignored(path.relative_to(ROOT)))


def text_files() -> dict[str, str]:
    """Path within the repository -> text, of every file that is text."""
    texts: dict[str, str] = {}
    for path in repository_files():
        content = path.read_bytes()
        if b"\0" not in content[:8192]:
            texts[path.relative_to(ROOT).as_posix()] = content.decode("utf-8")
    return texts


def _is_ignored(path: Path) -> bool:
    caches = any(part.endswith("_cache") or part.endswith(".egg-info") for part in path.parts)
    return caches or not IGNORED.isdisjoint(path.parts)
