"""What a person cannot see is shown nowhere: no page, search, filter, count, export or suggestion."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from flows.catalog import sync
from flows.models import Deployment, Environment, Health
from runs import mirror, requests
from runs.actors import Actor
from runs.governance import grants
from runs.models import Freeze, Run, RunRequest, Verb
from tests.cast import SCHEMA, by, person
from tests.expectations import load
from tests.fakes.prefect import FakePrefect
from tests.portal.addresses import everywhere
from tests.portal.hostile_text import World, bad, world
from tests.portal.made_tokens import robot_of

pytestmark = pytest.mark.django_db

Login = Callable[[User], Client]
EXPECTED = load("visibility")
# About the environment as a whole, shown to everyone who can see anything in it.
OF_ALL = {*EXPECTED["shown to all who see anything in the environment"]}
# Who froze it, who can run what is visible, and the scope of one's own denials.
SAID_AT = {
    address: {*EXPECTED["shown on a page although the rest is hidden"][page]}
    for address, page in {
        "/admin/flows/environment/": "environments",
        "/admin/flows/deployment/": "deployments",
        "/admin/runs/grant/mine/": "my access",
    }.items()
}
# What is hidden without a verb; None means all of it except the above.
HIDDEN = {name: None if marks == "everything" else {*marks} for name, marks in EXPECTED["hidden"].items()}
# The parameters and the output of a run.
INPUTS, LOGS = {"value", "parameter"}, {"log"}
MARK = re.compile(r"bad-(\w+)")
# What differs between two requests of the same page.
RESTLESS = re.compile(r'csrfmiddlewaretoken" value="\w+"|nonce="[^"]+"|value="[0-9a-f-]{36}"')


@pytest.fixture
def open_one(dev: Environment, fake: FakePrefect, requester: User) -> Run:
    """A deployment with a run and a request, which everybody here may see."""
    record = fake.add_deployment(flow_name="monthly", name="monthly", parameter_schema=SCHEMA, tags=("crm",))
    sync.sync(dev)
    deployment = Deployment.objects.get(prefect_id=record.id)
    requests.submit(deployment, {"month": "2026-10"}, by=by(requester))
    run = fake.add_run(record.id, state_type="RUNNING", parameters={"month": "2026-10"})
    fake.add_log(run.id, "An open word.")
    mirror.refresh(dev, [run.id])
    return Run.objects.get()


@pytest.fixture
def made(open_one: Run, dev: Environment, fake: FakePrefect, admin_user: User) -> World:
    """And one in the same environment whose every text is marked."""
    return world(dev, fake, admin_user)


def without(verb: Verb, *, on: str = bad("flow")) -> User:
    """Somebody who may look at, ask for and approve everything there, but not this with one deployment."""
    user = person(f"without {verb}", "Operator", "Approver")
    grants.grant(by=Actor.system(), person=user, verbs=[verb], effect="deny", flow_name=on)
    return user


def lists() -> Iterator[tuple[str, Any]]:
    for model, model_admin in admin.site._registry.items():
        yield reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"), model_admin


def looks(made: World) -> list[str]:
    """Every address with every key there is, and every list searched, filtered and sorted by what is hidden."""
    rows = {
        **made.rows,
        "flows/deployment": list(Deployment.objects.values_list("pk", flat=True)),
        "runs/run": list(Run.objects.values_list("pk", flat=True)),
        "runs/runrequest": list(RunRequest.objects.values_list("pk", flat=True)),
        "runs/auditentry": made.rows["runs/auditentry"][-2:],
    }
    found = [*everywhere(rows), "/admin/search/?s=bad", "/admin/search/?s=monthly", "/admin/?range=30d"]
    for address, model_admin in lists():
        found.append(f"{address}?q=bad")
        found += [f"{address}?{name}=bad" for name in names(model_admin)]
        found.append(f"{address}?_facets=True")
    return [*found, *suggestions("bad")]


def suggestions(term: str) -> list[str]:
    app_model = [("runs", "run", "deployment"), ("runs", "runrequest", "deployment"), ("flows", "deployment", "flow")]
    return [
        f"/admin/autocomplete/?app_label={app}&model_name={model}&field_name={field}&term={term}"
        for app, model, field in app_model
    ]


def names(model_admin: Any) -> Iterator[str]:
    for each in model_admin.list_filter:
        yield each[0] if isinstance(each, tuple) else getattr(each, "parameter_name", str(each))


def marks(client: Client, address: str) -> set[str]:
    """What of the marked texts an answer has; an event stream is looked at elsewhere."""
    answer = client.get(address, follow=True)
    return set() if answer.streaming else set(MARK.findall(answer.content.decode()))


def shown(client: Client, made: World, subtests: pytest.Subtests, hidden: set[str] | None) -> set[str]:
    """Every mark that shows anywhere; one that is `hidden` fails with the address. None stands for all."""
    everything: set[str] = set()
    for address in looks(made):
        with subtests.test(address=address), transaction.atomic():
            found = marks(client, address)
            everything |= found
            said = {mark for place, marks in SAID_AT.items() if address.startswith(place) for mark in marks}
            assert not (found - OF_ALL - said if hidden is None else found & hidden), address
    return everything


def test_whoever_may_see_it_sees_the_marks(
    made: World, admin_user: User, login: Login, subtests: pytest.Subtests
) -> None:
    """Else the tests below would pass on empty pages."""
    seen = shown(login(admin_user), made, subtests, set())
    assert seen >= {"deployment", "flow", "tag", "run", "reason", "grant", *INPUTS, *LOGS, *OF_ALL}


def test_without_see_nothing_of_it_shows_anywhere(made: World, login: Login, subtests: pytest.Subtests) -> None:
    user = without(Verb.SEE)
    client = login(user)
    shown(client, made, subtests, HIDDEN["without see"])
    assert b"monthly/monthly" in client.get(reverse("admin:flows_deployment_changelist")).content


def test_no_suggestion_names_what_may_not_be_seen(made: World, admin_user: User, login: Login) -> None:
    """The places that suggest deployments; who may see it is shown it there, or this would prove nothing."""
    addresses = suggestions("bad")[:2]
    assert all("deployment" in marks(login(admin_user), address) for address in addresses)
    client = login(without(Verb.SEE))
    assert set().union(*(marks(client, address) for address in addresses)) == set()


def test_no_form_offers_what_may_not_be_seen(made: World, dev: Environment, admin_user: User, login: Login) -> None:
    """The forms that list deployments to choose from; who may see it is offered it, or this would prove nothing."""
    robot = robot_of(user := without(Verb.SEE), "robot", "starts runs of another system")
    for account in (user, robot.user):
        grants.grant(by=Actor.system(), person=account, verbs=["trigger"], flow_name=bad("flow"))
    client = login(user)
    for form in ("chain", "eventrule", "hook"):
        address = f"{reverse(f'admin:runs_{form}_new')}?environment={dev.pk}"
        assert client.get(address).status_code == 200
        assert marks(client, address) & {"deployment", "flow"} == set(), form
    offered = f"{reverse('admin:runs_chain_new')}?environment={dev.pk}"
    assert "deployment" in marks(login(admin_user), offered)


def test_without_see_inputs_no_value_shows_anywhere(made: World, login: Login, subtests: pytest.Subtests) -> None:
    user = without(Verb.SEE_INPUTS)
    # People who can approve or request a run see which one.
    grants.grant(by=Actor.system(), person=user, verbs=["approve", "trigger"], effect="deny", flow_name=bad("flow"))
    seen = shown(login(user), made, subtests, HIDDEN["without see inputs"])
    assert seen >= {"run", "log"}


def test_without_see_logs_no_line_shows_anywhere(made: World, login: Login, subtests: pytest.Subtests) -> None:
    seen = shown(login(without(Verb.SEE_LOGS)), made, subtests, HIDDEN["without see logs"])
    assert "run" in seen


def test_no_value_can_be_guessed_by_a_lookup_in_an_address(
    made: World, login: Login, subtests: pytest.Subtests
) -> None:
    """Whether it is right or wrong, a guess about a column that no filter shows answers the same."""
    client = login(without(Verb.SEE_INPUTS))
    guesses = {
        "runs_run": ["parameters__icontains", "parameters__text__startswith", "run_request__parameters__icontains"],
        "runs_runrequest": ["parameters__icontains", "digest__startswith", "deployment__parameter_defaults__icontains"],
        "flows_deployment": ["job_variables__icontains", "runs__parameters__icontains", "environment__server__api_url"],
        "flows_environment": [
            "server__sealed_credential__isnull",
            "server__api_url__startswith",
            "runs__parameters__icontains",
        ],
    }
    for name, lookups in guesses.items():
        for lookup in lookups:
            with subtests.test(list=name, lookup=lookup), transaction.atomic():
                address = reverse(f"admin:{name}_changelist")
                answers = [client.get(address, {lookup: guess}).status_code for guess in ("bad", "nothing of the kind")]
                assert answers[0] == answers[1] != 200


def test_a_row_that_may_not_be_seen_is_not_told_from_one_that_is_not_there(
    made: World, login: Login, subtests: pytest.Subtests
) -> None:
    client = login(without(Verb.SEE))
    hidden = {
        "flows/deployment": made.deployment.pk,
        "runs/run": Run.objects.filter(deployment=made.deployment).values_list("pk", flat=True)[0],
        "runs/runrequest": RunRequest.objects.filter(deployment=made.deployment).values_list("pk", flat=True)[0],
        "flows/alias": made.rows["flows/alias"][0],
    }
    for subject, pk in hidden.items():
        there, nowhere = everywhere({subject: [pk]}), everywhere({subject: [99_999_999]})
        for address, other in zip(there, nowhere, strict=True):
            if address == other:
                continue
            for method in ("get", "post"):
                with subtests.test(address=address, method=method), transaction.atomic():
                    answers = [getattr(client, method)(each, follow=True) for each in (address, other)]
                    assert answers[0].status_code == answers[1].status_code
                    assert not answers[0].streaming
                    assert body(answers[0]).replace(address, other) == body(answers[1])


def body(answer: Any) -> str:
    return RESTLESS.sub("", answer.content.decode())


def test_what_may_not_be_seen_changes_no_page_and_no_count(
    open_one: Run, dev: Environment, fake: FakePrefect, admin_user: User, login: Login, subtests: pytest.Subtests
) -> None:
    """Every list and overview is the same to the letter, whether the hidden things are there or not."""
    client = login(without(Verb.SEE))
    overviews = ["/admin/", "/admin/?range=30d", "/admin/search/?s=nightly"]
    for address, model_admin in lists():
        overviews += [address, f"{address}?_facets=True", f"{address}?q=m"]
        overviews += [f"{address}?o={column}" for column in range(1, len(model_admin.list_display) + 1)]
    # The parts about the environment, and the clock, are the same in both.
    now = timezone.now()
    looked: list[dict[str, str]] = []
    for _ in range(2):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(timezone, "now", lambda: now)
            cache.clear()
            looked.append({address: body(client.get(address, follow=True)) for address in overviews})
        if len(looked) == 1:
            before = (
                dict(Environment.objects.values().get(pk=dev.pk)),
                dict(Health.objects.values().get()),
            )
            world(dev, fake, admin_user)
            Freeze.objects.all().delete()
            Environment.objects.filter(pk=dev.pk).update(**before[0])
            Health.objects.filter(server=dev.server).update(**before[1])
    for address in overviews:
        with subtests.test(address=address):
            assert looked[1][address] == looked[0][address]
