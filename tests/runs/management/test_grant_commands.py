"""Commands for grants: output, exit codes and audit entries."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import load_command_class
from django.utils import timezone

from flows.models import Deployment, Environment
from runs.access.decisions import decide
from runs.actors import Actor
from runs.governance import grants
from runs.models import AuditEntry, Grant, Verb
from tests.cast import by, person

pytestmark = pytest.mark.django_db
Say = Callable[..., tuple[int, str, str]]
EU = '{"properties": {"rows": {"maximum": 5}}}'


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Say:
    """Runs a command as the shell does; gives its exit code and what it wrote."""
    monkeypatch.delenv("PORTAL_USER", raising=False)

    def run(*words: str) -> tuple[int, str, str]:
        command = load_command_class("runs", words[0])
        try:
            options = command.create_parser("manage.py", words[0]).parse_args(words[1:])
            command.execute(**vars(options))
            code = 0
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_a_grant_is_given_as_the_page_gives_it(
    say: Say, admin_user: User, viewer: User, deployment: Deployment
) -> None:
    words = ("--env", "dev", "--flow", "monthly", "--when", EU, "--until", "2999-01-01T00:00", "--reason", "cover")
    code, out, _ = say(
        "grant", "viewer", "trigger", "trigger-later", *words, "--ticket", "OPS-1", "--as", "administrator"
    )
    row = Grant.objects.get(person=viewer)
    assert (code, out) == (
        0,
        f"Grant {row.pk}: viewer allow trigger, trigger later on dev, flow monthly when rows is at most 5.\n",
    )
    assert (row.reason, row.ticket) == ("cover", "OPS-1")
    assert f"{timezone.localtime(row.valid_until):%Y-%m-%d %H:%M}" == "2999-01-01 00:00"
    entry = AuditEntry.objects.latest("sequence")
    assert (entry.verb, entry.actor_name, entry.channel) == ("grant.give", "administrator", "command")
    code, out, _ = say("grant", "group:Viewer", "see", "--deny", "--as", "administrator", "--json")
    assert json.loads(out)["effect"] == "deny"


@pytest.mark.parametrize(
    ("words", "code", "refusal"),
    [
        (("viewer", "trigger"), 1, "actor.required"),
        (("viewer", "trigger", "--as", "viewer"), 1, "grant.own"),
        (("administrator", "trigger", "--as", "viewer"), 1, "grant.beyond_own"),
        (("viewer", "fly", "--as", "administrator"), 1, "verb.unknown"),
        (("nobody", "see", "--as", "administrator"), 3, "user.unknown"),
        (("group:Nobody", "see", "--as", "administrator"), 3, "group.unknown"),
        (("viewer", "see", "--env", "moon", "--as", "administrator"), 3, "environment.unknown"),
        (("viewer", "trigger", "--when", "EU", "--as", "administrator"), 1, "grant.condition"),
        (("viewer", "trigger", "--when", "[]", "--as", "administrator"), 1, "grant.condition"),
        (("viewer", "trigger", "--until", "soon", "--as", "administrator"), 1, "time.format"),
    ],
)
def test_a_grant_that_cannot_be_given_says_why(
    say: Say, admin_user: User, viewer: User, dev: Environment, words: tuple[str, ...], code: int, refusal: str
) -> None:
    left, _, err = say("grant", *words)
    assert (left, f"({refusal})" in err) == (code, True), err
    assert not Grant.objects.filter(person=viewer).exists()


@pytest.mark.usefixtures("single_administrator")
def test_what_opens_a_protected_environment_is_confirmed(
    say: Say, admin_user: User, viewer: User, prod: Environment
) -> None:
    words = ("grant", "viewer", "trigger", "--env", "prod", "--reason", "cover", "--as", "administrator")
    code, _, err = say(*words)
    assert (code, "(loosening.confirm)" in err) == (1, True)
    assert say(*words, "--confirm", "prod")[0] == 0
    denial = json.loads(say(*words, "--deny", "--json")[1])["grant"]
    words = ("revoke", str(denial), "--reason", "over", "--as", "administrator")
    assert "(loosening.confirm)" in say(*words)[2]
    assert say(*words, "--confirm", "prod")[0] == 0


def test_a_grant_is_revoked_by_its_number(say: Say, admin_user: User, viewer: User) -> None:
    row = grants.grant(by=Actor.system(), person=viewer, verbs=["see"])
    assert say("revoke", f"{row.pk}", "--as", "viewer")[0] == 1
    assert say("revoke", f"{row.pk}", "--reason", "left", "--as", "administrator")[:2] == (
        0,
        f"Grant {row.pk} revoked.\n",
    )
    row.refresh_from_db()
    assert row.revoked_by_name == "administrator"
    code, _, err = say("revoke", f"{row.pk}", "--as", "administrator")
    assert code == 1
    assert "(grant.revoked)" in err
    assert say("revoke", "99999", "--as", "administrator")[0] == 3


def test_who_lists_people_with_their_conditions(
    say: Say, requester: User, viewer: User, deployment: Deployment
) -> None:
    grants.grant(by=Actor.system(), person=viewer, verbs=["trigger"], predicate=json.loads(EU))
    code, out, _ = say("who", "dev", "monthly", "--verb", "trigger")
    assert code == 0
    assert [line.split()[:3] for line in out.splitlines()[1:]] == [
        ["trigger", "requester", "yes"],
        ["trigger", "viewer", "yes"],
    ]
    assert "rows is at most 5" in out
    rows: list[dict[str, Any]] = json.loads(say("who", "dev", "monthly", "--json")[1])
    assert {row["verb"] for row in rows if row["person"] == "requester"} >= {"see", "trigger", "cancel"}
    assert say("who", "dev", "monthly", "--verb", "fly")[0] == 1
    person("outsider")
    assert say("who", "dev", "monthly", "--as", "outsider")[0] == 3


def test_why_tells_the_answer_by_its_code_and_its_reasons(
    say: Say, admin_user: User, viewer: User, deployment: Deployment, tmp_path: Path
) -> None:
    over = grants.grant(by=Actor.system(), person=viewer, verbs=["trigger"])
    grants.revoke(over, by=Actor.system())
    code, out, _ = say("why", "viewer", "trigger", "dev", "monthly", "--as", "viewer")
    assert (code, out.splitlines()[0]) == (2, decide(by(viewer), Verb.TRIGGER, deployment).sentence)
    assert f"Grant {over.pk} " in out
    assert "Revoked" in out
    bound = grants.grant(by=Actor.system(), person=viewer, verbs=["trigger"], predicate=json.loads(EU))
    values = tmp_path / "values.json"
    for rows, expected in ((5, 0), (6, 2)):
        values.write_text(json.dumps({"month": "2026-01", "rows": rows}))
        words = ("viewer", "trigger", "dev", "monthly", "--parameters-file", str(values), "--as", "administrator")
        code, out, _ = say("why", *words, "--json")
        found = json.loads(out)
        assert code == expected
        assert (found["allowed"], found["decided_by"][0]["grant"]) == (expected == 0, bound.pk)
        assert bool(decide(by(viewer), Verb.TRIGGER, deployment, {"rows": rows})) == found["allowed"]
    assert AuditEntry.objects.filter(verb="person.try", subject_name="viewer").count() == 3


def test_nobody_asks_why_of_others_but_administrators(
    say: Say, requester: User, viewer: User, deployment: Deployment
) -> None:
    code, out, err = say("why", "requester", "trigger", "dev", "monthly", "--as", "viewer")
    assert (code, out) == (2, "")
    assert "access.no_grant" in err
    assert AuditEntry.objects.latest("sequence").outcome == "refused"
