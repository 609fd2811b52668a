"""The action for GitHub and the template for GitLab: their own steps and the worked example, beside the portal."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.contrib.auth.models import User

from flows.models import Deployment
from portal.demo.processes import ROOT
from runs import changes
from runs.actors import Actor
from runs.governance import grants
from runs.models import AuditEntry, ChangeRequest, JobTrust, JobTrustScope, RunRequest, ServiceAccount, TokenScope
from tests.cast import by
from tests.fakes.issuer import GITHUB, REQUEST_TOKEN, Issuer
from tests.fakes.prefect import FakePrefect
from tests.portal.client.played_runs import play
from tests.portal.made_tokens import new_token, robot_of
from tests.portal.pipelines import Finished, copy_of_checkout, portal_on_a_port, run_action, run_gitlab
from tests.portal.trusted_jobs import ON_GITHUB, ON_GITLAB, trust

pytestmark = pytest.mark.django_db
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```$", (ROOT / "docs/ci.md").read_text(), re.MULTILINE | re.DOTALL)
Run = Callable[..., Finished]


class Portal:
    """The application on a port, where someone approves what waits and Prefect ends each run in `state`."""

    def __init__(self, fake: FakePrefect, approver: User) -> None:
        self.fake, self.approver, self.state = fake, approver, "COMPLETED"
        self.address = ""
        self.serve: Callable[[], None] = lambda: None

    def carry_out(self) -> None:
        for change in ChangeRequest.objects.filter(state="waiting"):
            changes.approve(change, by=by(self.approver), displayed_digest=change.digest)
        for row in RunRequest.objects.filter(state="approved", flow_run_id=None):
            play(row.pk, self.fake, self.state, "one line of the log")


@pytest.fixture
def portal(prod_deployment: Deployment, prod_fake: FakePrefect, approver: User) -> Iterator[Portal]:
    found = Portal(prod_fake, approver)
    with portal_on_a_port(found.carry_out) as (found.address, found.serve):
        yield found


@pytest.fixture
def robot(requester: User, prod_deployment: Deployment) -> ServiceAccount:
    found = robot_of(requester)
    verbs = ["see", "see logs", "trigger"]
    grants.grant(by=Actor.system(), person=found.user, verbs=verbs, environment=prod_deployment.environment)
    return found


@pytest.fixture
def scope(prod_deployment: Deployment) -> JobTrustScope:
    return JobTrustScope(verbs=["see", "see logs", "trigger"], environment=prod_deployment.environment)


@pytest.fixture
def trusted(robot: ServiceAccount, scope: JobTrustScope, issuer: Issuer, portal: Portal) -> JobTrust:
    return trust(robot, issuer.url, scope, claims={**ON_GITHUB, "ref_protected": "true"}, audience=portal.address)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a runner has of the repository."""
    return copy_of_checkout(tmp_path_factory.mktemp("checkout"))


@pytest.fixture
def action(portal: Portal, issuer: Issuer, checkout: Path) -> Run:
    """Runs the action with the inputs of the worked example, or others."""
    workflow = yaml.safe_load(EXAMPLES[0])
    assert workflow["permissions"]["id-token"] == "write"
    step = workflow["jobs"]["month-end"]["steps"][0]
    assert step["uses"].partition("@")[0].endswith("/.github/actions/portal-run")

    def run(*, has_job_token: bool = True, **inputs: str) -> Finished:
        runner = {
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_REPOSITORY": "acme/pipelines",
            "GITHUB_RUN_ID": "7700112233",
        }
        if has_job_token:
            runner |= {
                "ACTIONS_ID_TOKEN_REQUEST_URL": issuer.request_url,
                "ACTIONS_ID_TOKEN_REQUEST_TOKEN": REQUEST_TOKEN,
            }
        given = {**step["with"], "url": portal.address, **inputs}
        return run_action(given, checkout, portal.serve, **runner)

    return run


def test_the_worked_example_of_github(trusted: JobTrust, action: Run, portal: Portal, issuer: Issuer) -> None:
    ended = action()
    assert ended.code == 0, ended.printed
    row = RunRequest.objects.get()
    assert ended.outputs == {
        "request": str(row.pk),
        "run": str(row.flow_run_id),
        "state": "completed",
        "url": ended.outputs["url"],
    }
    assert ended.outputs["url"].endswith(f"/runs/runrequest/{row.pk}/change/")
    assert "one line of the log" in ended.printed
    assert (row.change.reason, row.spec.parameters["month"]) == ("Month end", "2026-10")
    exchange = AuditEntry.objects.get(verb="token.exchange")
    assert exchange.after["job"]["repository"] == "acme/pipelines"
    submitted = AuditEntry.objects.get(verb="request.submit")
    assert (submitted.token_id, submitted.actor_name) == (exchange.token_id, "ci-robot")
    # Nothing secret is in the log of the job.
    assert not re.search(r"portal_[0-9A-Za-z]{12}\.|eyJ|" + REQUEST_TOKEN, ended.printed)


def test_a_run_that_fails_fails_the_step(trusted: JobTrust, action: Run, portal: Portal) -> None:
    portal.state = "FAILED"
    ended = action()
    assert (ended.code, ended.outputs["state"]) == (5, "failed")


def test_without_waiting_it_only_requests(trusted: JobTrust, action: Run) -> None:
    ended = action(wait="false", reason="")
    assert (ended.code, ended.outputs["request"]) == (0, str(RunRequest.objects.get().pk))
    assert RunRequest.objects.get().change.reason == "https://github.com/acme/pipelines/actions/runs/7700112233"


def test_inputs_are_no_commands(trusted: JobTrust, action: Run, tmp_path: Path) -> None:
    hostile = f'$(touch {tmp_path}/broken); `touch {tmp_path}/broken`" --help'
    ended = action(deployment=f"--{hostile}", reason=hostile, parameters=f'{{"month": "{"x"}"}}', timeout="5")
    assert ended.code in (1, 3), ended.printed
    assert ended.outputs == {}
    assert not (tmp_path / "broken").exists()


def test_a_job_of_another_branch_is_refused(trusted: JobTrust, action: Run, issuer: Issuer) -> None:
    issuer.job = {**GITHUB, "ref": "refs/pull/7/merge", "ref_protected": "false"}
    ended = action()
    assert (ended.code, ended.outputs, "job_token.claims" in ended.printed) == (2, {}, True)
    assert not RunRequest.objects.exists()


def test_a_static_token_works_too(robot: ServiceAccount, action: Run, prod_deployment: Deployment) -> None:
    environment = prod_deployment.environment
    scope = TokenScope(verbs=["see", "see logs", "trigger"], environment=environment)
    ended = action(has_job_token=False, token=new_token(robot.user, scope, owner=robot.owner).text)
    assert (ended.code, ended.outputs["state"]) == (0, "completed"), ended.printed
    assert not AuditEntry.objects.filter(verb="token.exchange").exists()


def test_the_worked_example_of_gitlab(
    robot: ServiceAccount, scope: JobTrustScope, issuer: Issuer, portal: Portal, checkout: Path
) -> None:
    trust(robot, issuer.url, scope, claims=ON_GITLAB, audience=portal.address)
    pipeline: dict[str, Any] = yaml.safe_load(EXAMPLES[1])
    assert (checkout / pipeline["include"][0]["file"]).exists()
    runner = {
        "CI_JOB_URL": "https://gitlab.com/acme/pipelines/-/jobs/27182",
        "PORTAL_ADDRESS": portal.address,
        "PORTAL_CLIENT": str(checkout / "portal/client"),
    }
    ended = run_gitlab(
        pipeline["month-end"], checkout, portal.serve, lambda audience: issuer.gitlab(aud=audience), **runner
    )
    assert ended.code == 0, ended.printed
    assert "one line of the log" in ended.printed
    row = RunRequest.objects.get()
    assert (row.state, row.change.requested_by_name, row.change.reason) == ("completed", "ci-robot", "Month end")
    assert AuditEntry.objects.get(verb="token.exchange").after["job"]["job"] == "27182"
