"""`manage.py deploy` is for demos: the credentials of an installation are for the portal alone."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import call_command

from flows.models import Environment

pytestmark = pytest.mark.django_db


def test_in_production_it_refuses(dev: Environment, settings: Any, capsys: pytest.CaptureFixture[str]) -> None:
    settings.PRODUCTION = True
    with pytest.raises(SystemExit) as ended:
        call_command("deploy", "dev")
    assert ended.value.code == 1
    assert "python -m flows.deploy" in capsys.readouterr().err


def test_without_an_environment_it_says_so(db: None, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        call_command("deploy")
    assert ended.value.code == 1
    assert capsys.readouterr().err
