"""The time zone of whoever starts the demo is that of every process of the portal."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from portal.demo.processes import ROOT, time_zone
from portal.demo.stack import BACKGROUND, CLOCK, FOLLOWER, MIGRATE, STORY, WEB, Options, Stack

ZONE = "Asia/Kolkata"


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    monkeypatch.setenv("PORTAL_TIME_ZONE", ZONE)
    monkeypatch.delenv("PORTAL_TIME_ZONE_FILE", raising=False)
    nowhere = "postgresql://nobody@127.0.0.1:9/none"
    made = Stack(Options(tmp_path, port=0, prefect_port=0, story=True, database=nowhere), lambda line: None)
    yield made
    made.stop()


def test_every_process_of_the_portal_is_told(stack: Stack) -> None:
    told = {part.name: part.program.environment for layer in stack._layers() for part in layer}
    portal = {MIGRATE, CLOCK, WEB, BACKGROUND, FOLLOWER, STORY, "Accounts (dev)", "Accounts (prod)"}

    assert portal <= told.keys()
    assert {name for name, given in told.items() if given.get("PORTAL_TIME_ZONE") == ZONE} == portal
    # So that a command in a second terminal reads and shows times as the pages do.
    assert stack.settings["PORTAL_TIME_ZONE"] == ZONE


def test_and_takes_it(stack: Stack) -> None:
    words = stack.manage("shell", "--no-imports", "-c", "from django.conf import settings; print(settings.TIME_ZONE)")
    done = subprocess.run(words, cwd=ROOT, env=stack.environment(), capture_output=True, text=True, check=False)

    assert done.stdout.strip() == ZONE, done.stderr


def test_it_may_be_in_a_file_or_not_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PORTAL_TIME_ZONE", raising=False)
    monkeypatch.delenv("PORTAL_TIME_ZONE_FILE", raising=False)
    assert time_zone() == {}
    monkeypatch.setenv("PORTAL_TIME_ZONE_FILE", "/run/secrets/zone")
    assert time_zone() == {"PORTAL_TIME_ZONE_FILE": "/run/secrets/zone"}
