"""The pages of chains: the form that saves a version, the form that requests a run, and the page of a run."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from flows.models import Deployment, Environment
from portal.admin.chains import chain_draft, step_text
from runs.actors import Actor
from runs.automation import chain_definition, chains
from runs.governance import grants, resource_profiles
from runs.models import Chain, ChangeRequest
from runs.models.request import State
from tests.cast import by, person
from tests.fakes.prefect import FakePrefect
from tests.made_chains import deploy, end, go_on, latest, make, step, where
from tests.portal.query_counts import count
from tests.runs.requests.test_resource_profiles import in_pool

pytestmark = pytest.mark.django_db
Login = Callable[[User], Client]
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
def deployed(dev: Environment, fake: FakePrefect) -> Environment:
    deploy(dev, fake, "ingest", "train", "drift")
    return dev


@pytest.fixture
def chain(deployed: Environment, requester: User) -> Chain:
    return make(deployed, requester, step("ingest"), step("train", "ingest", gate=True))


def address(name: str, *keys: Any) -> str:
    return reverse(f"admin:{name}", args=keys)


def typed(*rows: dict[str, Any], **fields: Any) -> dict[str, Any]:
    found = {"name": "Monthly close", "steps": len(rows), **fields}
    for index, row in enumerate(rows):
        found |= {f"step-{index}-{name}": value for name, value in row.items()}
    return found


INGEST = {"key": "ingest", "deployment": "ingest/daily", "parameters": "month = {month}\nrows = 7"}
TRAIN = {
    "key": "train",
    "deployment": "train/daily",
    "after": 'ingest completed if plan /level = "HIGH"',
    "parameters": 'month = {month}\nrows = ingest: plan /rows within {"maximum": 10}',
    "gate": "on",
    "retries": "2",
    "timeout_minutes": "30",
}


def test_a_chain_is_saved_from_the_table_and_shown_in_it_again(
    deployed: Environment, requester: User, login: Login
) -> None:
    client = login(requester)
    body = typed(INGEST, TRAIN, {}, environment=deployed.pk, defaults="month = 2026-10")
    answer = client.post(address("runs_chain_new"), body)
    assert answer.status_code == 302, answer.content.decode()
    chain = Chain.objects.get()
    definition = chain.versions.get().definition
    assert definition["inputs"] == {"month": {"default": "2026-10"}}
    assert definition["steps"][1] == {
        "key": "train",
        "deployment": "train/daily",
        "after": [{"step": "ingest", "when": "completed", "artifact": "plan", "pointer": "/level", "equals": "HIGH"}],
        "parameters": {
            "month": {"input": "month"},
            "rows": {"step": "ingest", "artifact": "plan", "pointer": "/rows", "schema": {"maximum": 10}},
        },
        "gate": True,
        "retries": 2,
        "timeout_minutes": 30,
    }
    # What the form shows of it is read back as the same: no new version.
    page = client.get(address("runs_chain_edit", chain.pk))
    steps = page.context["steps"]
    shown = [{name: value for name, value in form.initial.items() if value} for form in steps.forms[:2]]
    client.post(address("runs_chain_edit", chain.pk), typed(*shown, defaults=page.context["form"]["defaults"].value()))
    chain.refresh_from_db()
    assert chain.number == 1


@pytest.mark.parametrize("text", ["{month}", "ingest: plan /x", "over 1..3", "2026-10", "7", "null"])
def test_a_constant_that_looks_like_something_else_is_written_so_that_it_is_read_as_itself(text: str) -> None:
    written = step_text.write_parameters({"name": {"value": text}})
    assert step_text.read_parameters(written) == {"name": {"value": text}}


@pytest.mark.parametrize(
    "text",
    [
        "month = over 2026-01..2026-03, 3 at once",
        "month = over 2026-01, 2026-02, 5 at once, go on",
        "month = over {months}, 5 at once",
        "rows = over [1, 2], 5 at once",
        "month = over 2026-01..2026-03, 3 at once, go on\nrows = over 1..3",
    ],
)
def test_what_a_step_runs_over_is_written_as_it_is_read(text: str) -> None:
    written = {"key": "load", "deployment": "load/daily", "parameters": step_text.read_parameters(text)}
    (stored,) = chain_definition.read({"steps": [written]}).stored["steps"]
    assert step_text.write_parameters(stored["parameters"]) == text


def test_a_step_that_is_a_backfill_is_defined_requested_and_followed(
    deployed: Environment, requester: User, login: Login, fake: FakePrefect
) -> None:
    client = login(requester)
    row = {**INGEST, "parameters": "month = over {months}, 2 at once\nrows = over 5, 7"}
    assert client.post(address("runs_chain_new"), typed(row, environment=deployed.pk)).status_code == 302
    chain = Chain.objects.get()
    run = {"version": 1, "submission_key": uuid.uuid4(), "parameters-months": "2026-01..2026-02"}
    assert "inputs" in client.get(address("runs_chain_run", chain.pk)).context
    wrong = client.post(address("runs_chain_run", chain.pk), {**run, "parameters-months": "2026-01, soon"})
    assert wrong.context["plan"].refused == 2
    planned = client.post(address("runs_chain_run", chain.pk), run)
    assert (planned.status_code, planned.context["plan"].runs) == (200, 4)
    assert [value for _, value in planned.context["steps"][0].rows[1].cells] == ["2026-01", "7"]
    assert not ChangeRequest.objects.exists()
    submitted = {"draft": planned.context["draft"], "plan": planned.context["plan"].digest}
    stale = client.post(address("runs_chain_run", chain.pk), {**submitted, "plan": "0" * 64})
    assert (stale.context["refusal_code"], stale.context["plan"].runs) == ("chain.plan_changed", 4)
    answer = client.post(address("runs_chain_run", chain.pk), submitted)
    assert answer.status_code == 302, answer.context["refusal"]
    again = client.post(address("runs_chain_run", chain.pk), submitted)
    assert again.headers["Location"] == answer.headers["Location"]
    go_on()
    end(ChangeRequest.objects.get(), "ingest", "COMPLETED", fake)
    page = client.get(answer.headers["Location"])
    (shown,) = page.context["rows"]
    assert shown.state_label == "Running, 1 of 4"
    assert [each.state_label for each in shown.items.rows] == ["Completed", "Launched", "Launched", "Not started"]
    assert [value for _, value in shown.items.rows[1].cells] == ["2026-01", "7"]
    assert {part.key: part.count for part in shown.items.parts if part.count} == {
        "completed": 1,
        "running": 2,
        "held": 1,
    }
    assert "Running, 1 of 4" in page.context["graph"]
    stranger = person("sees")
    grants.grant(by=Actor.system(), person=stranger, verbs=["see"], environment=deployed)
    (hidden,) = login(stranger).get(answer.headers["Location"]).context["rows"]
    assert (hidden.items.names, hidden.items.rows[0].cells) == ([], [])


def test_a_plan_is_edited_without_showing_a_secret_and_is_for_its_reader_alone(
    deployed: Environment, requester: User, approver: User, login: Login
) -> None:
    client = login(requester)
    over = {"month": {"over": {"input": "months"}}, "token": {"input": "token"}}
    chain = make(deployed, requester, step("ingest", parameters=over))
    url = address("runs_chain_run", chain.pk)
    typed_in = {"parameters-months": "2026-01", "parameters-token": "s3cret-one"}
    planned = client.post(url, {"version": 1, "submission_key": uuid.uuid4(), **typed_in, "reason": "Month end"})
    assert "s3cret-one" not in planned.content.decode()
    form = client.post(url, {"draft": planned.context["draft"], "change": "1"})
    assert (form.context["options"]["reason"].value(), "s3cret-one" in form.content.decode()) == ("Month end", False)
    edited = {"version": 1, "submission_key": uuid.uuid4(), "edited_draft": form.context["edited_draft"]}
    changed = client.post(url, {**edited, "parameters-months": "2026-01..2026-03", "parameters-token": ""})
    draft = chain_draft.read_chain_draft(changed.context["draft"], chain, requester)
    assert draft
    assert draft.inputs == {"months": "2026-01..2026-03", "token": "s3cret-one"}
    assert chain_draft.read_chain_draft(changed.context["draft"], chain, approver) is None
    chains.save(deployed, chain.name, {"steps": [step("train")]}, by=by(requester), chain=chain)
    stale = client.post(url, {"draft": changed.context["draft"], "plan": changed.context["plan"].digest})
    assert stale.context["refusal_code"] == "chain.version_changed"
    assert client.post(url, {"draft": "x"}).context["refusal_code"] == "form.expired"
    assert not ChangeRequest.objects.exists()


def test_a_resource_profile_is_saved_with_a_step_and_chosen_with_a_run(
    deployed: Environment, requester: User, admin_user: User, login: Login, fake: FakePrefect
) -> None:
    for record in fake.deployments():
        in_pool(Deployment.objects.get(prefect_id=record.id), fake)
    for name in ("large", "huge"):
        resource_profiles.create(
            deployed, by=by(admin_user), name=name, pool_name="gpu", job_variables={"cpu": 4 if name == "large" else 16}
        )
    client = login(requester)
    rows = [
        {**INGEST, "parameters": "month = {month}", "profile": "large"},
        {**TRAIN, "after": "ingest", "parameters": "month = {month}", "profile": "large", "choose_profile": "on"},
    ]
    assert client.post(address("runs_chain_new"), typed(*rows, environment=deployed.pk)).status_code == 302
    chain = Chain.objects.get()
    assert [each.get("profile") for each in chain.versions.get().definition["steps"]] == ["large", "large"]
    wrong = client.post(address("runs_chain_edit", chain.pk), typed({**rows[0], "profile": "none"}))
    assert wrong.context["steps"].forms[0].errors
    form = client.get(address("runs_chain_run", chain.pk))
    assert list(form.context["profiles"].fields) == ["train"]
    body = {"version": 1, "submission_key": uuid.uuid4(), "parameters-month": "2026-10", "profile-train": "huge"}
    answer = client.post(address("runs_chain_run", chain.pk), body)
    assert answer.status_code == 302, answer.context["refusal"]
    page = client.get(answer.headers["Location"])
    assert [(row.profile.name, row.profile.settings[0].value) for row in page.context["rows"]] == [
        ("large", "4"),
        ("huge", "16"),
    ]


def test_a_description_of_an_input_that_a_step_runs_over_is_kept(
    deployed: Environment, requester: User, login: Login
) -> None:
    document = {
        "inputs": {"m": {"description": "Months"}},
        "steps": [step("ingest", parameters={"month": {"over": {"input": "m"}}})],
    }
    chain = chains.save(deployed, "Close", document, by=by(requester)).chain
    row = {**INGEST, "parameters": "month = over {m}", "retries": "1"}
    login(requester).post(address("runs_chain_edit", chain.pk), typed(row))
    newest = chain.versions.get(number=2)
    assert newest.definition["inputs"] == {"m": {"description": "Months"}}


def test_an_error_stands_at_its_step(deployed: Environment, requester: User, login: Login) -> None:
    body = typed(INGEST, {**TRAIN, "parameters": "", "after": "ingest"}, environment=deployed.pk)
    answer = login(requester).post(address("runs_chain_new"), body)
    rows = answer.context["steps"].forms
    assert [bool(row.errors) for row in rows] == [False, True]
    assert not Chain.objects.exists()
    answer = login(requester).post(address("runs_chain_new"), typed(INGEST, environment=deployed.pk, more="1"))
    assert len(answer.context["steps"].forms) == 4


def test_a_chain_is_imported_as_json(deployed: Environment, requester: User, login: Login) -> None:
    document = json.dumps({"steps": [step("ingest"), step("train", "ingest")]})
    client = login(requester)
    client.post(address("runs_chain_new"), typed(environment=deployed.pk, document=document))
    assert [each.key for each in chains.current_steps(Chain.objects.get())] == ["ingest", "train"]
    answer = client.post(address("runs_chain_new"), typed(environment=deployed.pk, document="{"))
    assert "document" in answer.context["form"].errors


def test_a_run_is_requested_with_its_inputs_and_followed(
    chain: Chain, requester: User, login: Login, fake: FakePrefect
) -> None:
    client = login(requester)
    form = client.get(address("runs_chain_run", chain.pk))
    assert form.status_code == 200
    body = {"version": 1, "submission_key": uuid.uuid4(), "parameters-month": "2026-10"}
    answer = client.post(address("runs_chain_run", chain.pk), {**body, "parameters-month": "soon"})
    assert answer.status_code == 200
    answer = client.post(address("runs_chain_run", chain.pk), body)
    again = client.post(address("runs_chain_run", chain.pk), body)
    change = ChangeRequest.objects.get()
    assert answer.headers["Location"] == again.headers["Location"] == address("runs_changerequest_change", change.pk)
    go_on()
    end(change, "ingest", "COMPLETED", fake)
    page = client.get(answer.headers["Location"])
    assert [(row.step.key, row.state_label) for row in page.context["rows"]] == [
        ("ingest", "Completed"),
        ("train", "Waits at its gate"),
    ]
    assert page.context["rows"][1].may_decide
    let_go = address("runs_changerequest_let_go", change.pk)
    assert client.post(let_go, {"step": 0}).status_code == 404
    client.post(let_go, {"step": latest(change, "train").pk})
    go_on()
    assert latest(change, "train").state == State.LAUNCHED
    end(change, "train", "FAILED", fake)
    assert client.get(answer.headers["Location"]).context["resume"].is_allowed
    client.post(address("runs_changerequest_resume", change.pk))
    go_on()
    assert where(change)["train"] == "running"
    client.post(address("runs_changerequest_pause", change.pk), {"reason": "source is down"})
    paused = client.get(answer.headers["Location"])
    assert (paused.context["badge"].key, paused.context["pause"].is_allowed) == ("paused", False)
    client.post(address("runs_changerequest_resume", change.pk))
    assert client.get(answer.headers["Location"]).context["pause"].is_allowed
    client.post(address("runs_changerequest_cancel_rest", change.pk))
    change.refresh_from_db()
    assert change.state == ChangeRequest.State.WITHDRAWN


def test_another_version_than_the_one_displayed_is_not_run(
    chain: Chain, requester: User, login: Login, deployed: Environment
) -> None:
    chains.save(deployed, chain.name, {"steps": [step("train")]}, by=by(requester), chain=chain)
    body = {"version": 1, "submission_key": uuid.uuid4(), "parameters-month": "2026-10"}
    answer = login(requester).post(address("runs_chain_run", chain.pk), body)
    assert answer.context["refusal_code"] == "chain.version_changed"


def test_who_sees_not_every_deployment_sees_neither_the_chain_nor_its_runs(
    chain: Chain, requester: User, login: Login, deployed: Environment
) -> None:
    change = chains.request_run(chain, {"month": "2026-10"}, by=by(requester))
    some = person("some")
    grants.grant(by=Actor.system(), person=some, verbs=["see"], environment=deployed, full_name="ingest/daily")
    client = login(some)
    assert client.get(address("runs_chain_change", chain.pk)).status_code == 404
    assert client.get(address("runs_changerequest_change", change.pk)).status_code == 404
    assert "Monthly close" not in client.get(address("runs_chain_changelist")).content.decode()
    assert client.post(address("runs_chain_disable", chain.pk)).status_code == 404


def test_who_sees_it_and_may_not_run_it_has_no_buttons(chain: Chain, viewer: User, login: Login) -> None:
    client = login(viewer)
    page = client.get(address("runs_chain_change", chain.pk))
    assert not page.context["may_run"]
    for name in ("edit", "run"):
        assert client.get(address(f"runs_chain_{name}", chain.pk)).status_code == 403
    assert client.post(address("runs_chain_disable", chain.pk)).status_code == 403


def test_inputs_and_constants_are_for_those_who_may_view_parameters(
    chain: Chain, requester: User, login: Login, deployed: Environment
) -> None:
    change = chains.request_run(chain, {"month": "2026-10"}, by=by(requester))
    some = person("some")
    grants.grant(by=Actor.system(), person=some, verbs=["see"], environment=deployed)
    page = login(some).get(address("runs_changerequest_change", change.pk)).content.decode()
    assert "2026-10" not in page
    assert "2026-10" not in login(some).get(address("runs_chain_change", chain.pk)).content.decode()


def test_hostile_text_of_a_flow_is_escaped(
    deployed: Environment, requester: User, login: Login, fake: FakePrefect
) -> None:
    test = {"step": "drift", "artifact": HOSTILE, "pointer": "/a", "equals": HOSTILE}
    chain = make(deployed, requester, step("drift"), step("train", test), name="<b>close")
    change = chains.request_run(chain, {"month": "2026-10"}, by=by(requester), reason=HOSTILE)
    go_on()
    end(change, "drift", "FAILED", fake)
    client = login(requester)
    for url in (
        address("runs_chain_changelist"),
        address("runs_chain_change", chain.pk),
        address("runs_chain_run", chain.pk),
        address("runs_chain_edit", chain.pk),
        address("runs_changerequest_change", change.pk),
        address("runs_changerequest_changelist"),
        address("runs_runrequest_changelist"),
        address("runs_runrequest_change", latest(change, "drift").pk),
    ):
        answer = client.get(url)
        assert answer.status_code == 200, url
        text = answer.content.decode()
        assert "<b>close" not in text
        assert HOSTILE not in text


def test_the_queries_do_not_grow_with_the_steps(
    deployed: Environment, requester: User, login: Login, fake: FakePrefect
) -> None:
    deploy(deployed, fake, *(f"s{number}" for number in range(20)))
    small = make(deployed, requester, step("ingest"), step("train", gate=True), name="small")
    large = make(deployed, requester, *(step(f"s{number}", gate=number > 0) for number in range(20)), name="large")
    client = login(requester)
    changes = [chains.request_run(each, {"month": "2026-10"}, by=by(requester)) for each in (small, large)]
    go_on()
    for url, rows in (
        ("runs_chain_change", (small, large)),
        ("runs_chain_run", (small, large)),
        ("runs_changerequest_change", changes),
    ):
        counts = [count(client, address(url, row.pk)) for row in rows]
        assert counts[0] == counts[1], url
        assert counts[0] <= 20, url
    assert count(client, address("runs_chain_changelist")) <= 20


def test_a_backfill_of_many_runs_takes_as_many_queries_as_one_of_few(
    deployed: Environment, requester: User, login: Login
) -> None:
    client, found = login(requester), []
    for name, values in (("small", "2026-01..2026-02"), ("large", "2024-01..2026-12")):
        row = step("ingest", parameters={"month": {"over": values, "at_once": 50}}, gate=True)
        change = chains.request_run(make(deployed, requester, row, name=name), {}, by=by(requester))
        go_on()
        client.post(address("runs_changerequest_let_go", change.pk), {"step": latest(change, "ingest").pk})
        go_on()
        found.append(count(client, address("runs_changerequest_change", change.pk)))
    assert found[0] == found[1] <= 20


def test_codes_of_refusals_come_with_the_messages(chain: Chain, requester: User, login: Login) -> None:
    change = chains.request_run(chain, {"month": "2026-10"}, by=by(requester))
    answer = login(requester).post(address("runs_changerequest_resume", change.pk))
    assert [each.extra_tags for each in get_messages(answer.wsgi_request)] == ["chain.nothing_failed"]


def test_the_page_of_one_that_has_ended_says_why_it_cannot_be_run_and_its_form_renews_it(
    chain: Chain, requester: User, login: Login
) -> None:
    client, page = login(requester), address("runs_chain_change", chain.pk)
    assert client.get(page).context["obstacle"] is None
    Chain.objects.update(valid_until=timezone.now() - timedelta(days=1))
    shown = client.get(page)
    assert shown.context["obstacle"].code == "chain.ended"
    assert address("runs_chain_run", chain.pk) not in shown.content.decode()
    answer = client.get(address("runs_chain_run", chain.pk))
    assert answer.headers["Location"] == page
    assert [each.extra_tags for each in get_messages(answer.wsgi_request)] == ["chain.ended"]
    body = {"version": 1, "submission_key": uuid.uuid4(), "parameters-month": "2026-10"}
    assert client.post(address("runs_chain_run", chain.pk), body).context["refusal_code"] == "chain.ended"
    edit = address("runs_chain_edit", chain.pk)
    form = client.get(edit).context["form"]
    rows = [{"key": "ingest", "deployment": "ingest/daily", "parameters": "month = {month}"}]
    again = client.post(edit, typed(*rows, valid_until=form["valid_until"].value()))
    assert list(again.context["form"].errors) == ["valid_until"]
    assert client.post(edit, typed(*rows, valid_until="")).status_code == 302
    assert client.get(page).context["obstacle"] is None
