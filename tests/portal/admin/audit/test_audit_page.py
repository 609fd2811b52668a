"""The audit trail in the admin: who may read it, what it shows, and that nothing can be changed there."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.db import connection
from django.test import AsyncClient, Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from flows.models import Deployment, Environment
from portal.admin.audit import downloads
from portal.admin.audit.filters import actor_names
from portal.ui.diff import Change, diff
from runs import audit, requests
from runs.actors import Actor, Channel, Kind
from runs.audit import export_files, lines
from runs.errors import Refused
from runs.governance import tokens
from runs.models import AuditEntry, Export, Grant, RunRequest, TokenScope
from runs.models.audit_verbs import VERBS
from tests.cast import by
from tests.portal.made_tokens import new_token, robot_of
from tests.portal.page_elements import refusal_codes
from tests.refusals import refused

pytestmark = pytest.mark.django_db

DOCS = Path(__file__).resolve().parents[4] / "docs"
LIST = reverse("admin:runs_auditentry_changelist")
VERIFY = reverse("admin:runs_auditentry_verify")
EXPORT = reverse("admin:runs_auditentry_export")
Login = Callable[[User], Client]


def page_of(entry: AuditEntry) -> str:
    return reverse("admin:runs_auditentry_change", args=[entry.pk])


def note(name: str = "thing", actor: str = "somebody", verb: str = "grant.give", **columns: Any) -> AuditEntry:
    who = Actor(Kind.PERSON, "", actor, Channel.API, None, "192.0.2.7")
    with audit.act(verb, None, by=who, subject_kind="grant", subject_name=name, reason="month end") as act:
        act.before, act.after = columns.get("before", {}), columns.get("after", {})
    return AuditEntry.objects.latest("sequence")


def asked(deployment: Deployment, requester: User) -> AuditEntry:
    requests.submit(deployment, {"month": "2026-10"}, by=by(requester), reason="month end")
    return AuditEntry.objects.latest("sequence")


# Who may


@pytest.mark.parametrize("person", ["requester", "approver", "viewer", "stranger"])
def test_nobody_else_may_read_it(request: pytest.FixtureRequest, login: Login, person: str) -> None:
    entry = note()
    client = login(request.getfixturevalue(person))
    assert client.get(LIST).status_code == 403
    assert client.get(page_of(entry)).status_code == 403
    assert client.post(VERIFY).status_code == 403
    assert client.post(EXPORT, {"format": "csv"}).status_code == 403


@pytest.mark.parametrize("person", ["auditor", "admin_user"])
def test_the_auditor_and_the_administrator_may(request: pytest.FixtureRequest, login: Login, person: str) -> None:
    entry = note()
    client = login(request.getfixturevalue(person))
    assert client.get(LIST).status_code == 200
    assert client.get(page_of(entry)).status_code == 200


def test_somebody_not_signed_in_is_sent_to_sign_in(client: Client) -> None:
    for url in (LIST, page_of(note()), VERIFY):
        assert client.get(url).url.startswith("/admin/login/")  # type: ignore[attr-defined]  # a redirect


@pytest.mark.parametrize("person", ["auditor", "admin_user"])
def test_nobody_can_add_change_or_delete(request: pytest.FixtureRequest, login: Login, person: str) -> None:
    entry = note()
    client = login(request.getfixturevalue(person))
    assert client.get(reverse("admin:runs_auditentry_add")).status_code == 403
    assert client.post(reverse("admin:runs_auditentry_delete", args=[entry.pk]), {"post": "yes"}).status_code == 403
    client.post(page_of(entry), {"reason": "better"})
    client.post(LIST, {"action": "delete_selected", "_selected_action": [entry.pk]})
    assert AuditEntry.objects.get(pk=entry.pk).reason == "month end"


@pytest.mark.parametrize("url", [VERIFY, EXPORT])
def test_acts_are_posts(login: Login, auditor: User, url: str) -> None:
    assert login(auditor).get(url).status_code == 405


@pytest.mark.parametrize("pk", ["99999", "x", "0", "1e3", "9" * 40])
def test_an_entry_that_is_not_there_is_404(login: Login, auditor: User, pk: str) -> None:
    assert login(auditor).get(f"{LIST}{pk}/change/").status_code == 404


# The list


def test_a_row_says_who_did_what_to_what_and_why(
    login: Login, auditor: User, deployment: Deployment, requester: User
) -> None:
    asked(deployment, requester)
    text = login(auditor).get(LIST).content.decode()
    for words in (
        "requester",
        VERBS["request.submit"],
        "for monthly in dev",
        "dev",
        "month end",
        "done",
        "admin, 192.0.2.1",
    ):
        assert words in text


def test_a_subject_that_still_exists_is_a_link(login: Login, auditor: User) -> None:
    for pk in (auditor.pk, 99999):
        with audit.act("grant.give", None, by=by(auditor), subject_kind="user", subject_id=str(pk)):
            pass
    there, gone = AuditEntry.objects.order_by("sequence")
    client = login(auditor)
    text = client.get(LIST).content.decode() + client.get(page_of(there)).content.decode()
    assert text.count(f'href="/admin/auth/user/{auditor.pk}/change/"') == 2
    assert "/admin/auth/user/99999/" not in text + client.get(page_of(gone)).content.decode()


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("actor_name=anna", {"by anna"}),
        ("verb=run.cancel", {"a cancel"}),
        ("verb=run.cancel&verb=request.submit", {"a cancel"}),
        ("verb=run.cancel&verb=grant.give", {"by anna", "a cancel"}),
        ("verb=unknown", set()),
        ("outcome=refused", set()),
        ("channel=api", {"by anna", "a cancel"}),
        ("channel=command", set()),
        ("environment=nowhere", set()),
        ("q=cancel", {"a cancel"}),
        ("q=%22requested+a+CANCELLATION%22", {"a cancel"}),
        ("q=month+end", {"by anna", "a cancel"}),
        ("q=192.0.2.7", {"by anna", "a cancel"}),
        ("at_from=2020-01-01&at_to=2020-12-31", set()),
        ("at_from=2020-01-01&at_to=", {"by anna", "a cancel"}),
        ("at_from=not-a-day&at_to=2020-99-99", {"by anna", "a cancel"}),
    ],
)
def test_it_is_filtered_and_searched(
    login: Login, auditor: User, dev: Environment, query: str, found: set[str]
) -> None:
    note("by anna", actor="anna")
    note("a cancel", actor="otto", verb="run.cancel")
    response = login(auditor).get(f"{LIST}?{query}")
    assert {entry.subject_name for entry in response.context["cl"].result_list} == found


def test_sign_ins_can_be_left_out_but_not_those_that_failed(login: Login, auditor: User) -> None:
    for verb in ("session.sign_in", "session.sign_out", "grant.give"):
        note(verb, verb=verb)
    with refused("reason.required"), audit.act("session.sign_in", None, by=by(auditor), subject_name="wrong password"):
        raise Refused("reason.required", "Give a reason.")
    client = login(auditor)
    assert found(client, "sign_ins=hidden") == ["wrong password", "grant.give"]
    assert len(found(client, "sign_ins=nonsense")) == 4


def test_the_last_day_of_a_range_counts_whole(login: Login, auditor: User) -> None:
    note()
    today = timezone.localdate()
    for first, last, number in ((today, today, 1), (today + timedelta(days=1), None, 0), (None, today, 1)):
        response = login(auditor).get(f"{LIST}?at_from={first or ''}&at_to={last or ''}")
        assert len(response.context["cl"].result_list) == number


def found(client: Client, query: str) -> list[str]:
    return [entry.subject_name for entry in client.get(f"{LIST}?{query}").context["cl"].result_list]


def test_the_trail_of_one_subject_and_of_one_person(login: Login, auditor: User, requester: User) -> None:
    for pk, who in ((1, auditor), (2, requester)):
        with audit.act(
            "run.cancel", None, by=by(who), subject_kind="run", subject_id=str(pk), subject_name=f"run {pk}"
        ):
            pass
    about = {"subject_kind": "person", "subject_id": str(requester.pk), "subject_name": "their account"}
    with audit.act("person.change", None, by=by(auditor), **about):
        pass
    client = login(auditor)
    assert found(client, "subject=run:1") == ["run 1"]
    assert found(client, "subject=run:1,run:2") == ["run 2", "run 1"]
    assert found(client, f"person={requester.pk}") == ["their account", "run 2"]
    assert found(client, "subject=nonsense") == found(client, "person=nobody") == []


def test_the_token_is_named_linked_and_found(
    login: Login, auditor: User, deployment: Deployment, requester: User
) -> None:
    robot = robot_of(requester)
    Grant.objects.create(person=robot.user, verbs=["see", "trigger"], granted_by_name="test")
    token = new_token(robot.user, TokenScope(verbs=["see", "trigger"]), owner=requester).token
    requests.submit(deployment, {"month": "2026-10"}, by=tokens.actor_of(token, address="192.0.2.7"))
    entry, client = AuditEntry.objects.get(verb="request.submit"), login(auditor)
    link = f'href="{reverse("admin:runs_token_change", args=[token.pk])}"'
    for address in (LIST, page_of(entry)):
        page = client.get(address).content.decode()
        assert link in page
        assert token.key in page
    assert found(client, f"token={token.key}") == found(client, f"q={token.key}&verb=request.submit")
    assert len(found(client, f"token={token.key}")) == 1
    assert found(client, "token=unknown") == []
    # What a token does, its account does.
    assert entry.subject_name in found(client, f"person={robot.user_id}")


def test_a_token_that_is_not_there_is_named_without_a_link(login: Login, auditor: User) -> None:
    who = Actor(Kind.TOKEN, "7", "nightly", Channel.API, None, token_id="<b>gone</b>")
    with audit.act("run.cancel", None, by=who, subject_name="a run"):
        pass
    for address in (LIST, page_of(AuditEntry.objects.get())):
        page = login(auditor).get(address).content.decode()
        assert "&lt;b&gt;gone&lt;/b&gt;" in page
        assert "<b>gone" not in page


def test_tokens_and_service_accounts_link_to_their_pages(login: Login, auditor: User, requester: User) -> None:
    robot = robot_of(requester)
    token = new_token(robot.user, owner=requester).token
    page = login(auditor).get(LIST).content.decode()
    assert f'href="{reverse("admin:runs_serviceaccount_change", args=[robot.pk])}"' in page
    assert f'href="{reverse("admin:runs_token_change", args=[token.pk])}"' in page
    assert f'href="{reverse("admin:auth_user_change", args=[robot.user_id])}"' not in page


def test_on_whose_behalf_and_for_which_ticket_is_kept_and_found(login: Login, auditor: User) -> None:
    who = Actor(Kind.TOKEN, "7", "nightly", Channel.API, None, on_behalf_of="anna")
    with audit.act("run.cancel", None, by=who, subject_name="a run", ticket="OPS-12"):
        pass
    entry, client = AuditEntry.objects.get(), login(auditor)
    assert (entry.on_behalf_of, entry.ticket) == ("anna", "OPS-12")
    text = client.get(page_of(entry)).content.decode()
    assert "On behalf of" in text
    assert "OPS-12" in text
    assert found(client, "q=OPS-12") == found(client, "q=anna") == ["a run"]
    assert audit.verify()


def test_a_digest_finds_its_entry(login: Login, auditor: User) -> None:
    note("another")
    entry = note("this one")
    response = login(auditor).get(f"{LIST}?q={entry.digest}")
    assert [found.subject_name for found in response.context["cl"].result_list] == ["this one"]


def test_the_menu_of_actors_hops_over_the_names() -> None:
    for name in ("otto", "anna", "otto", "zoë", "anna"):
        note(actor=name)
    assert actor_names() == ["anna", "otto", "zoë"]


def test_a_hundred_rows_cost_as_many_queries_as_ten(
    login: Login, auditor: User, deployment: Deployment, requester: User
) -> None:
    client = login(auditor)

    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            assert client.get(f"{LIST}?rows=200").status_code == 200
        return len(captured)

    for _ in range(10):
        asked(deployment, requester)
    # The number of rows is remembered once.
    queries()
    few = queries()
    for _ in range(40):
        asked(deployment, requester)
    assert queries() == few


# One entry


def test_the_differences_are_shown_value_by_value() -> None:
    found = list(
        diff({"a": 1, "b": {"c": "x", "d": [1]}, "gone": None}, {"a": 2, "b": {"c": "x", "d": [1, 2]}, "new": {}})
    )
    assert found == [
        Change("a", "1", "2", "amber"),
        Change("b.c", "x", "x", "grey"),
        Change("b.d", "[\n  1\n]", "[\n  1,\n  2\n]", "amber"),
        Change("gone", "null", "", "red"),
        Change("new", "", "{}", "green"),
    ]
    assert list(diff({}, {})) == []


def test_an_entry_shows_its_digests_and_that_the_chain_holds(login: Login, auditor: User) -> None:
    note()
    entry = note(before={"state": "waiting"}, after={"state": "approved"})
    text = login(auditor).get(page_of(entry)).content.decode()
    for words in (entry.digest, entry.previous_digest, "waiting", "approved", 'data-state="intact"', "1 to 2"):
        assert words in text


def test_an_entry_says_that_the_chain_is_broken_before_it(login: Login, auditor: User) -> None:
    note()
    entry = note()
    tamper("UPDATE runs_auditentry SET reason = 'better' WHERE sequence = 1")
    text = login(auditor).get(page_of(entry)).content.decode()
    assert 'data-state="broken"' in text
    assert "#1 " in text


def tamper(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE runs_auditentry DISABLE TRIGGER USER")
        cursor.execute(statement)
        cursor.execute("ALTER TABLE runs_auditentry ENABLE TRIGGER USER")


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "{{ 7|add:7 }}", "' onmouseover='x", "x" * 690])
def test_what_somebody_typed_is_shown_and_not_run(login: Login, auditor: User, text: str) -> None:
    entry = note(text, actor=text[:40], after={text: text})
    for url in (LIST, page_of(entry)):
        page = login(auditor).get(url).content.decode()
        assert "<script>alert" not in page
        assert "' onmouseover='x" not in page


# Verifying


def test_the_button_verifies_and_says_how_many_and_the_head(login: Login, auditor: User) -> None:
    note()
    head = note().digest
    answer = login(auditor).post(VERIFY, follow=True)
    assert refusal_codes(answer) == {"audit.intact"}
    text = answer.content.decode()
    assert "1 to 2" in text
    assert head in text
    assert AuditEntry.objects.latest("sequence").verb == "audit.verify"


def test_the_button_names_the_first_broken_link(login: Login, auditor: User) -> None:
    note()
    note()
    tamper("DELETE FROM runs_auditentry WHERE sequence = 1")
    answer = login(auditor).post(VERIFY, follow=True)
    assert refusal_codes(answer) == {"audit.broken"}
    broken = AuditEntry.objects.latest("sequence").after["broken"]
    assert "#1 " in broken
    assert broken in answer.content.decode()


def test_the_button_names_a_request_closed_past_the_portal(
    login: Login, auditor: User, deployment: Deployment, requester: User
) -> None:
    asked(deployment, requester)
    RunRequest.objects.update(state=RunRequest.State.WITHDRAWN)
    answer = login(auditor).post(VERIFY, follow=True)
    assert refusal_codes(answer) == {"audit.differs"}
    assert AuditEntry.objects.latest("sequence").after["broken"] in answer.content.decode()


def test_a_long_trail_is_verified_in_part_and_the_rest_is_not_hidden(
    login: Login, auditor: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.admin.audit.admin.VERIFIED_HERE", 2)
    for _ in range(5):
        note()
    text = login(auditor).post(VERIFY, follow=True).content.decode()
    assert "4 to 5" in text
    assert "verify_audit" in text


# Exporting


def export(person: User, file_format: str, query: str = "") -> str:
    """As the web process serves it: the rows are streamed from an asynchronous iterator."""

    async def fetch() -> str:
        client = AsyncClient()
        await client.aforce_login(person)
        response = await client.post(f"{EXPORT}{query}", {"format": file_format})
        assert response.status_code == 200, response.status_code
        assert response.streaming
        return b"".join([part async for part in response]).decode()  # type: ignore[attr-defined]  # streaming

    text: str = async_to_sync(fetch)()
    return text


def test_csv_holds_the_filtered_list(auditor: User) -> None:
    note("kept", actor="anna", after={"rows": 5})
    note("left out", actor="otto")
    rows = list(csv.DictReader(io.StringIO(export(auditor, "csv", "?actor_name=anna").removeprefix("\ufeff"))))
    assert [row["subject_name"] for row in rows] == ["kept"]
    assert rows[0]["after"] == '{"rows": 5}'
    assert rows[0]["sequence"] == "1"


def test_json_lines_hold_all_that_the_digest_is_taken_of(auditor: User) -> None:
    entries = [note(f"thing {number}", after={"float": 1e22, "text": "ä\n"}) for number in range(3)]
    rows = [json.loads(line) for line in export(auditor, "jsonl").splitlines()]
    assert [row["sequence"] for row in rows] == [3, 2, 1]
    copy = AuditEntry(**rows[1] | {"at": entries[1].at})
    assert audit.digest(copy) == entries[1].digest == rows[1]["digest"]
    assert rows[1]["at"] == entries[1].at.isoformat()


def test_the_documented_script_verifies_an_export_without_the_portal(
    auditor: User, tmp_path: Path, settings: Any
) -> None:
    for number in range(3):
        note(f"thing {number}", before={"empty": {}}, after={"float": 1e22, "text": "ä\u2028", "none": None})
    (script,) = re.findall(r"```python\n(.*?)```", (DOCS / "audit.md").read_text(), re.DOTALL)
    file, keys = tmp_path / "audit.jsonl", tmp_path / "keys"

    def verified(*more: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-c", script, str(file), *more]
        return subprocess.run(words, capture_output=True, text=True, check=False)

    file.write_text(export(auditor, "jsonl"))
    assert verified().stdout.strip() == f"3 entries, intact. Head: {AuditEntry.objects.get(sequence=3).digest}"
    keys.write_text(f"an older key, {settings.AUDIT_KEYS[0]}\n")
    assert verified(str(keys)).stdout == verified().stdout
    keys.write_text("the key of another portal")
    assert "#1 is not signed" in verified(str(keys)).stderr
    file.write_text(file.read_text().replace("thing 1", "thing 7"))
    assert "#2 was changed" in verified().stderr


def test_exporting_is_audited_and_not_part_of_itself(auditor: User) -> None:
    note()
    assert len(export(auditor, "jsonl", "?q=thing").splitlines()) == 1
    entry = AuditEntry.objects.latest("sequence")
    assert (entry.verb, entry.actor_name, entry.outcome) == ("audit.export", "auditor", "done")
    assert entry.after == {"format": "jsonl", "filters": {"q": "thing"}, "entries": 1}


def test_a_long_export_is_read_in_pages(auditor: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "ROWS_A_PAGE", 2)
    for _ in range(5):
        note()
    rows = [json.loads(line)["sequence"] for line in export(auditor, "jsonl").splitlines()]
    assert rows == [5, 4, 3, 2, 1]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1"])  # noqa: RUF001
def test_a_formula_is_defused(auditor: User, text: str) -> None:
    note(text)
    rows = list(csv.DictReader(io.StringIO(export(auditor, "csv").removeprefix("\ufeff"), newline="")))
    assert rows[0]["subject_name"] == f"'{text}"


@pytest.mark.parametrize(
    ("value", "written"), [(-5, -5), (1.5, 1.5), (True, "true"), (None, ""), ({"a": "="}, '{"a": "="}')]
)
def test_numbers_and_structures_stay_what_they_are(value: Any, written: Any) -> None:
    assert lines.cell(value) == written


def test_another_format_is_404(login: Login, auditor: User) -> None:
    assert login(auditor).post(EXPORT, {"format": "exe"}).status_code == 404
    assert not AuditEntry.objects.filter(verb="audit.export").exists()


# Long exports


EXPORTS = reverse("admin:runs_auditentry_exports")


@pytest.fixture
def long_export(login: Login, auditor: User, monkeypatch: pytest.MonkeyPatch) -> Export:
    """One that is made in the background, and not made yet."""
    monkeypatch.setattr("portal.admin.audit.admin.MADE_AT_ONCE", 2)
    for number in range(3):
        note(f"thing {number}")
    answer = login(auditor).post(f"{EXPORT}?q=thing", {"format": "jsonl"})
    assert answer.url == EXPORTS  # type: ignore[attr-defined]  # a redirect
    return Export.objects.get()


def download_of(export: Export) -> str:
    return reverse("admin:runs_auditentry_download", args=[export.pk])


def test_a_long_export_is_made_in_the_background_and_shows_how_far_it_is(
    login: Login, auditor: User, long_export: Export
) -> None:
    client = login(auditor)
    text = client.get(EXPORTS).content.decode()
    assert "0 of 3 entries" in text
    assert "<progress" in text
    assert download_of(long_export) not in text
    export_files.build_export(long_export)
    text = client.get(EXPORTS).content.decode()
    assert "3 of 3 entries" in text
    assert download_of(long_export) in text


def test_a_long_export_is_downloaded_whole_and_that_is_audited(auditor: User, long_export: Export) -> None:
    export_files.build_export(long_export)

    async def fetch() -> str:
        client = AsyncClient()
        await client.aforce_login(auditor)
        response = await client.post(download_of(long_export))
        assert response.headers["Content-Disposition"] == f'attachment; filename="{long_export}"'
        return b"".join([part async for part in response]).decode()  # type: ignore[attr-defined]  # streaming

    rows = [json.loads(line)["subject_name"] for line in async_to_sync(fetch)().splitlines()]
    assert rows == ["thing 2", "thing 1", "thing 0"]
    entry = AuditEntry.objects.latest("sequence")
    assert (entry.verb, entry.actor_name, entry.subject_name) == ("audit.download", "auditor", str(long_export))


def test_a_file_is_for_whoever_asked_for_it(
    login: Login, auditor: User, admin_user: User, stranger: User, long_export: Export
) -> None:
    export_files.build_export(long_export)
    assert str(long_export) not in login(admin_user).get(EXPORTS).content.decode()
    assert login(admin_user).post(download_of(long_export)).status_code == 404
    assert login(stranger).get(EXPORTS).status_code == 403
    auditor.groups.clear()
    assert login(auditor).post(download_of(long_export)).status_code == 403
    assert login(admin_user).get(download_of(long_export)).status_code == 405


def test_a_file_that_is_not_made_yet_is_404(login: Login, auditor: User, long_export: Export) -> None:
    assert login(auditor).post(download_of(long_export)).status_code == 404


# Signing in and out


@pytest.fixture
def otto(db: None) -> User:
    return User.objects.create_user("otto", password="right-horse", is_staff=True)


def sign_in(username: str, password: str) -> AuditEntry:
    client = Client(REMOTE_ADDR="192.0.2.9", headers={"user-agent": "Browser 1"})
    client.post("/admin/login/?next=/admin/", {"username": username, "password": password})
    return AuditEntry.objects.latest("sequence")


@override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"])
def test_signing_in_is_audited(otto: User) -> None:
    entry = sign_in("otto", "right-horse")
    assert (entry.verb, entry.outcome, entry.actor_name) == ("session.sign_in", "done", "otto")
    assert (entry.address, entry.user_agent) == ("192.0.2.9", "Browser 1")


def test_a_wrong_password_is_audited_as_refused(otto: User) -> None:
    entry = sign_in("otto", "wrong-horse")
    assert (entry.verb, entry.outcome, entry.actor_id) == ("session.sign_in", "refused", str(otto.pk))
    assert "wrong-horse" not in repr(AuditEntry.objects.values())


def test_a_name_nobody_has_is_not_kept(db: None) -> None:
    entry = sign_in("right-horse-typed-in-the-wrong-field", "x")
    assert (entry.outcome, entry.actor_name) == ("refused", "unknown account")
    assert "right-horse" not in repr(AuditEntry.objects.values())


@pytest.mark.parametrize(("username", "password"), [("", ""), ("otto", ""), ("", "x"), ("ot\x00to", "x")])
def test_a_form_that_is_not_filled_in_is_no_attempt(otto: User, username: str, password: str) -> None:
    answer = Client().post("/admin/login/", {"username": username, "password": password})
    assert answer.status_code == 200
    assert not AuditEntry.objects.exists()


def test_somebody_who_may_not_enter_is_audited_as_refused(otto: User) -> None:
    User.objects.filter(pk=otto.pk).update(is_staff=False)
    assert sign_in("otto", "right-horse").outcome == "refused"


def test_signing_out_is_audited(login: Login, otto: User) -> None:
    login(otto).post("/admin/logout/")
    entry = AuditEntry.objects.latest("sequence")
    assert (entry.verb, entry.actor_name) == ("session.sign_out", "otto")
