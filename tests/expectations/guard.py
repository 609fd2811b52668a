"""Fails if a commit changes both what the tests expect and the product: `python -m tests.expectations.guard`.

A change of the product that also changes what is expected of it could hide that something was lost.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
EXPECTATIONS = "tests/expectations/"
PRODUCT = ("flows/", "runs/", "portal/")


def git(root: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True).stdout


def has_history(root: Path) -> bool:
    """Whether `root` is the top folder of a git tree with a commit in it."""
    try:
        top = git(root, "rev-parse", "--verify", "--quiet", "HEAD") and git(root, "rev-parse", "--show-toplevel")
    except (OSError, subprocess.CalledProcessError):
        return False
    return Path(top.strip()).resolve() == root.resolve()


def changed(root: Path) -> Iterator[tuple[str, list[str]]]:
    """Each commit after the one that introduced the expectations, oldest first, and the files that it changes."""
    # A shallow clone's oldest commit adds every file: it counts as the one that introduced them.
    introduced = git(root, "log", "--reverse", "--diff-filter=A", "--format=%H", "--", EXPECTATIONS).split()
    if not introduced:
        return
    # Of a merge, only what differs from all its parents.
    options = ("--reverse", "--cc", "--no-renames", "--name-only", "-z", "--format=%x01%h %s%x00")
    log = git(root, "log", *options, f"{introduced[0]}..HEAD")
    for entry in log.split("\x01")[1:]:
        commit, *files = entry.split("\x00")
        yield commit.strip(), [file.strip() for file in files if file.strip()]


def is_expectation(file: str) -> bool:
    return file.startswith(EXPECTATIONS) and file.endswith(".json")


def mixed(commits: Iterable[tuple[str, list[str]]]) -> list[str]:
    """What is wrong with each commit that changes both."""
    return [
        f"{commit}\n  changes {', '.join(filter(is_expectation, files))}"
        f"\n  and {next(file for file in files if file.startswith(PRODUCT))}"
        for commit, files in commits
        if any(map(is_expectation, files)) and any(file.startswith(PRODUCT) for file in files)
    ]


def main(root: Path = ROOT) -> int:
    if not has_history(root):
        print("No git history here: nothing to compare.")
        return 0
    commits = list(changed(root))
    if found := mixed(commits):
        print("These commits change both what the tests expect and the product. Split them:", *found, sep="\n")
        return 1
    print(f"{len(commits)} commits since the expectations were introduced; none changes both.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
