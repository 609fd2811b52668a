"""Run commands as a shell does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.core.management import load_command_class
from django.utils import timezone

Say = Callable[..., tuple[int, str, str]]
Later = Callable[[timedelta], None]


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Later:
    """Moves the clock of the portal on; that of the database stays."""
    now, passed = timezone.now, [timedelta(0)]
    monkeypatch.setattr(timezone, "now", lambda: now() + passed[0])

    def move(by: timedelta) -> None:
        passed[0] += by

    return move


@pytest.fixture(autouse=True)
def nobody_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PORTAL_USER", raising=False)


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Runs a command as the shell does; gives its exit code and what it wrote."""

    def run(*words: str) -> tuple[int, str, str]:
        command = load_command_class("runs", words[0])
        try:
            # Not run_from_argv: it closes the connection, and the test's transaction with it.
            options = command.create_parser("manage.py", words[0]).parse_args(words[1:])
            command.execute(*options.__dict__.pop("args", ()), **vars(options))
            code = 0
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run
