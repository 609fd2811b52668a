"""The client as a program of somebody else: without settings of its own, and without pauses."""

from __future__ import annotations

import time
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No address, token or file of the person who runs the tests. Returns where the file would be."""
    names = ("PORTAL_ADDRESS", "PORTAL_TOKEN", "PORTAL_ALLOW_INSECURE", "FORCE_COLOR", "NO_COLOR")
    jobs = ("PORTAL_JOB_TOKEN", "PORTAL_JOB_ACCOUNT", "PORTAL_JOB_AUDIENCE")
    # Those of a job of GitHub, in which the tests may run.
    runner = ("ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN")
    for name in (*names, *jobs, *runner):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "portal" / "credentials.toml"


@pytest.fixture(autouse=True)
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were waited for: none of them passes."""
    found: list[float] = []
    monkeypatch.setattr(time, "sleep", found.append)
    return found
