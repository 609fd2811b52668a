"""The pages of trusted jobs: who sees them, the form for GitHub and GitLab, the page of one, and revoking."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from flows.models import Environment
from portal.admin.job_trusts import page
from portal.demo.processes import ROOT
from runs.actors import Actor
from runs.governance import grants, job_trusts
from runs.governance.job_trusts import JobToken
from runs.models import JobTrust, ServiceAccount
from tests.cast import by
from tests.fakes.issuer import AUDIENCE, GITHUB
from tests.portal.admin.tokens.test_token_pages import Login
from tests.portal.made_tokens import robot_of, sent
from tests.portal.page_elements import form_errors, has_button
from tests.portal.trusted_jobs import ON_GITLAB, trust

pytestmark = pytest.mark.django_db
ISSUER = "https://token.actions.githubusercontent.com"
LIST, NEW = reverse("admin:runs_jobtrust_changelist"), reverse("admin:runs_jobtrust_new")


@pytest.fixture(autouse=True)
def public(settings: Any) -> None:
    settings.PUBLIC_URL = AUDIENCE


@pytest.fixture
def robot(requester: User) -> ServiceAccount:
    return robot_of(requester)


@pytest.fixture
def trusted(robot: ServiceAccount) -> JobTrust:
    return trust(robot, ISSUER)


def page_of(row: JobTrust) -> str:
    return reverse("admin:runs_jobtrust_change", args=[row.pk])


def revoke_of(row: JobTrust) -> str:
    return reverse("admin:runs_jobtrust_revoke", args=[row.pk])


def typed(robot: ServiceAccount, *rows: dict[str, Any], **values: Any) -> dict[str, Any]:
    """Return what a browser sends for jobs of GitHub."""
    plain = {
        "name": "month end",
        "provider": "github",
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "token_minutes": "15",
        "repository": "acme/pipelines",
        "repository_id": "123456789",
        "ref": "refs/heads/main",
        "environment": "",
        "others": "",
    }
    return sent(robot.user, *rows, **{**plain, **values})


def test_the_owner_creates_one_for_github(login: Login, robot: ServiceAccount) -> None:
    answer = login(robot.owner).post(NEW, typed(robot, others="event_name = push\n", is_ref_protected="on"))
    row = JobTrust.objects.get()
    assert (answer.status_code, answer["Location"]) == (302, page_of(row))
    assert row.claims == {
        "repository": "acme/pipelines",
        "repository_id": "123456789",
        "ref": "refs/heads/main",
        "ref_protected": "true",
        "event_name": "push",
    }
    assert [scope.verbs for scope in row.scopes.all()] == [["see", "trigger"]]
    assert job_trusts.is_unchanged(row)


def test_and_for_gitlab(login: Login, robot: ServiceAccount) -> None:
    values = {"provider": "gitlab", "issuer": "https://gitlab.com", "repository_id": "4711", "ref": "main"}
    login(robot.owner).post(NEW, typed(robot, **values))
    row = JobTrust.objects.get()
    assert row.claims == {"project_path": "acme/pipelines", "project_id": "4711", "ref": "main"}


def test_the_form_sent_twice_creates_one(login: Login, robot: ServiceAccount) -> None:
    client = login(robot.owner)
    client.post(NEW, typed(robot))
    answer = client.post(NEW, typed(robot))
    assert form_errors(answer) == {("repository", "job_trust.same")}
    assert JobTrust.objects.count() == 1


@pytest.mark.parametrize(
    "values",
    [
        {"name": ""},
        {"issuer": "https://evil.example.com"},
        {"audience": ""},
        {"token_minutes": "361"},
        {"repository": "acme/*", "repository_id": ""},
        {"repository": "", "repository_id": ""},
        {"ref": "refs/heads/*x*"},
        {"others": "iss = x"},
        {"others": "ref = refs/heads/other"},
        {"others": "no sign of equality"},
        {"lifetime": "date", "until": "2099-01-01"},
        {"provider": "jenkins"},
    ],
)
def test_what_is_not_accepted_is_said_at_a_field(login: Login, robot: ServiceAccount, values: dict[str, Any]) -> None:
    answer = login(robot.owner).post(NEW, typed(robot, **values))
    assert answer.status_code == 200
    assert form_errors(answer)
    assert not JobTrust.objects.exists()


def test_any_branch_is_not_accepted_for_a_protected_environment(
    login: Login, robot: ServiceAccount, prod: Environment
) -> None:
    grants.grant(by=Actor.system(), person=robot.user, verbs=["see", "trigger"], environment=prod)
    row = {"verbs": ["trigger"], "environment": prod.pk}
    answer = login(robot.owner).post(NEW, typed(robot, row, ref="refs/heads/*"))
    assert form_errors(answer) == {("ref", "job_trust.unlimited")}
    assert not JobTrust.objects.exists()
    login(robot.owner).post(NEW, typed(robot, row))
    assert JobTrust.objects.get().scopes.get().environment == prod


def test_the_account_of_someone_else_cannot_be_chosen(
    login: Login, robot: ServiceAccount, admin_user: User, approver: User
) -> None:
    for user in (admin_user, approver):
        assert form_errors(login(user).post(NEW, typed(robot)))
    assert not JobTrust.objects.exists()


def test_who_sees_it(
    login: Login, trusted: JobTrust, requester: User, admin_user: User, auditor: User, approver: User, stranger: User
) -> None:
    for user in (requester, admin_user, auditor):
        assert trusted.key in login(user).get(LIST).content.decode()
        assert login(user).get(page_of(trusted)).status_code == 200
    for user in (approver, stranger):
        assert trusted.key not in login(user).get(LIST).content.decode()
        assert login(user).get(page_of(trusted)).status_code == 404
        assert login(user).post(revoke_of(trusted)).status_code == 404


def test_who_revokes_it(login: Login, trusted: JobTrust, admin_user: User, auditor: User) -> None:
    login(auditor).post(revoke_of(trusted), {"reason": "x"})
    trusted.refresh_from_db()
    assert trusted.digest
    assert not has_button(login(auditor).get(page_of(trusted)).content.decode(), "revoke")
    login(admin_user).post(revoke_of(trusted), {"reason": "x"})
    trusted.refresh_from_db()
    assert not trusted.digest
    assert "Revoked" in login(auditor).get(page_of(trusted)).content.decode()


def test_its_page_warns_of_what_is_left_open(login: Login, robot: ServiceAccount) -> None:
    row = trust(robot, ISSUER, claims={"repository": "acme/pipelines"})
    shown = login(robot.owner).get(page_of(row)).content.decode()
    assert all(f'data-code="{code}"' in shown for code in ("ref", "protected", "id"))
    narrow = trust(robot, ISSUER, claims={"repository_id": "1", "ref": "refs/heads/main", "ref_protected": "true"})
    assert 'data-code="ref"' not in login(robot.owner).get(page_of(narrow)).content.decode()


def test_its_page_shows_the_last_uses(login: Login, trusted: JobTrust, admin_user: User) -> None:
    hostile = {**GITHUB, "actor": "<script>alert(1)</script>", "ref": "refs/heads/main", "run_id": "77"}
    job = JobToken(ISSUER, AUDIENCE, {**hostile, "iss": ISSUER}, "d1")
    new = job_trusts.exchange(job, address="192.0.2.7")
    shown = login(admin_user).get(page_of(trusted)).content.decode()
    assert new.token.key in shown
    assert 'href="https://github.com/acme/pipelines/actions/runs/77/attempts/1"' in shown
    assert "<script>alert" not in shown
    token_page = login(admin_user).get(reverse("admin:runs_token_change", args=[new.token.pk])).content.decode()
    assert page_of(trusted) in token_page
    assert not has_button(token_page, "rotate")


def test_a_link_of_an_issuer_without_https_is_no_link(trusted: JobTrust) -> None:
    new = job_trusts.exchange(JobToken(ISSUER, AUDIENCE, {**GITHUB, "iss": ISSUER}, "d1"), address="192.0.2.7")
    assert page.use(new.token)["href"]
    new.token.job["url"] = "javascript:alert(1)"
    assert page.use(new.token)["href"] == ""


@pytest.mark.parametrize(("claims", "issuer"), [(None, ISSUER), (ON_GITLAB, "https://gitlab.com")])
def test_the_lines_to_copy_are_yaml_that_names_files_of_the_repository(
    login: Login, robot: ServiceAccount, claims: dict[str, str] | None, issuer: str
) -> None:
    row = trust(robot, issuer, **({"claims": claims} if claims else {}))
    shown = re.search(
        r'<pre[^>]* id="snippet">(.*?)</pre>', login(robot.owner).get(page_of(row)).content.decode(), re.S
    )
    assert shown
    found = yaml.safe_load(html.unescape(shown[1]))
    if claims:
        assert found["run-deployment"]["id_tokens"] == {"PORTAL_JOB_TOKEN": {"aud": AUDIENCE}}
        assert (ROOT / found["include"][0]["file"]).exists()
    else:
        assert found["permissions"]["id-token"] == "write"
        (step,) = found["steps"]
        assert step["with"]["url"] == AUDIENCE
        place = step["uses"].partition("@")[0].removeprefix("OWNER/REPOSITORY-OF-THE-PORTAL/")
        inputs = yaml.safe_load((ROOT / place / "action.yml").read_text())["inputs"]
        assert set(step["with"]) <= set(inputs)


@pytest.mark.parametrize(
    ("change", "label"),
    [
        (lambda row: JobTrust.objects.update(claims={"repository": "acme/other"}), "Changed in the database"),
        (lambda row: User.objects.filter(pk=row.user_id).update(is_active=False), "Account disabled"),
        (lambda row: job_trusts.revoke(row, by=by(row.created_by)), "Revoked"),
    ],
)
def test_the_state(trusted: JobTrust, change: Callable[[JobTrust], Any], label: str) -> None:
    change(trusted)
    row = job_trusts.visible_to(by(trusted.created_by)).get()
    assert page.state_badge(row).state_label == label


def test_the_page_of_the_service_account_lists_it(login: Login, trusted: JobTrust, client: Client) -> None:
    account = trusted.user.service_account
    shown = login(account.owner).get(reverse("admin:runs_serviceaccount_change", args=[account.pk])).content.decode()
    assert page_of(trusted) in shown
    assert f"{NEW}?account={account.user_id}" in shown
