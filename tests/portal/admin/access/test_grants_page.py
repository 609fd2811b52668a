"""Grants in the admin: given, revoked, never edited; and people and groups, who hold them."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.urls import reverse, reverse_lazy
from django.utils import timezone

from flows.models import Deployment, Environment
from portal.ui import grant_labels
from runs.access import predicates
from runs.actors import Actor
from runs.governance import grants, preview
from runs.models import AuditEntry, Grant, Verb
from tests.cast import by, person
from tests.portal.page_elements import form_errors, refusal_codes
from tests.refusals import refused

pytestmark = pytest.mark.django_db

LIST = reverse("admin:runs_grant_changelist")
ADD = reverse("admin:runs_grant_add")
PEOPLE = reverse("admin:auth_user_changelist")
WHY = reverse("admin:runs_grant_why")
MINE = reverse("admin:runs_grant_mine")
Login = Callable[[User], Client]
EU = {"properties": {"region": {"const": "EU"}}}


def page_of(grant: Grant) -> str:
    return reverse("admin:runs_grant_change", args=[grant.pk])


def revoke_of(grant: Grant) -> str:
    return reverse("admin:runs_grant_revoke", args=[grant.pk])


def page_of_person(user: User) -> str:
    return reverse("admin:auth_user_change", args=[user.pk])


def given(user: User, **columns: Any) -> Grant:
    return grants.grant(by=Actor.system(), person=user, **{"verbs": ["trigger"], "reason": "cover", **columns})


def typed(user: User, **values: Any) -> dict[str, Any]:
    # The name confirms a grant that opens a protected environment, and is ignored for any other.
    plain = {"who": f"person:{user.pk}", "effect": "allow", "verbs": ["see", "trigger"]}
    # The names of many tests match no deployment, which the page has said.
    return {**plain, "loosening_confirm": "prod", "warned": "on", **values}


def last_entry() -> AuditEntry:
    return AuditEntry.objects.latest("sequence")


# Giving


@pytest.mark.usefixtures("single_administrator")
def test_a_grant_is_given_with_all_that_narrows_it(
    admin_user: User, viewer: User, prod: Environment, login: Login
) -> None:
    until = (timezone.now() + timedelta(days=2)).strftime("%Y-%m-%dT%H:%M")
    values = typed(
        viewer, environment=prod.pk, flow_name="monthly", tag="crm", valid_until=until, reason="Covers for requester"
    )
    answer = login(admin_user).post(ADD, values)
    grant = Grant.objects.get(person=viewer)
    assert answer.url == page_of(grant)  # type: ignore[attr-defined]  # a redirect
    assert grant.verbs == ["see", "trigger"]
    assert (grant.environment, grant.flow_name, grant.tag) == (prod, "monthly", "crm")
    assert timezone.localtime(grant.valid_until).strftime("%Y-%m-%dT%H:%M") == until
    entry = last_entry()
    assert (entry.verb, entry.actor_name, entry.reason) == ("grant.give", "administrator", "Covers for requester")


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"who": ""}, ("who", "subject")),
        ({"who": "person:0"}, ("who", "invalid_choice")),
        ({"who": "administrators"}, ("who", "invalid_choice")),
        ({"verbs": []}, ("verbs", "required")),
        ({"verbs": ["rule"]}, ("verbs", "invalid_choice")),
        ({"effect": "maybe"}, ("effect", "invalid_choice")),
        ({"valid_until": "1999-01-01T00:00"}, ("valid_until", "grant.past")),
        ({"valid_from": "9000-01-01T00:00", "valid_until": "8000-01-01T00:00"}, ("__all__", "grant.dates")),
        ({"valid_until": "soon"}, ("valid_until", "time.format")),
        ({"tag": "nul\0"}, ("tag", "null_characters_not_allowed")),
        ({"environment": "999"}, ("environment", "invalid_choice")),
        ({"predicate": "region is EU"}, ("predicate", "json")),
        ({"predicate": "[" * 9000}, ("predicate", "json")),
        ({"predicate": '{"const": 1}'}, ("predicate", "condition")),
        ({"predicate": '{"properties": {"a": {"$ref": "http://x"}}}'}, ("predicate", "condition")),
        ({"predicate": '{"properties": {"a": {"const": 1}}}'}, ("__all__", "grant.condition_unbound")),
    ],
)
def test_a_mistake_is_shown_at_its_field(
    values: dict[str, Any], error: tuple[str, str], admin_user: User, viewer: User, login: Login
) -> None:
    answer = login(admin_user).post(ADD, typed(viewer, **values))
    assert answer.status_code == 200
    assert form_errors(answer) == {error}
    (message,) = answer.context["form"].errors[error[0]]
    assert html.escape(message) in answer.content.decode()
    assert not Grant.objects.filter(person=viewer).exists()


def test_names_to_choose_from_are_only_text(admin_user: User, deployment: Deployment, login: Login) -> None:
    Deployment.objects.update(flow_name='"><script>alert(1)</script>', tags=["<script>alert(2)</script>"])
    page = login(admin_user).get(ADD).content.decode()
    assert "<script>alert" not in page
    assert "monthly/monthly" in page


# Reading


def test_a_grant_is_told_in_a_sentence(admin_user: User, requester: User, prod: Environment, login: Login) -> None:
    grant = given(requester, verbs=["see", "trigger", "cancel"], environment=prod, flow_name="monthly", tag="crm")
    answer = login(admin_user).get(page_of(grant))
    sentence = grant_labels.describe(grant)
    assert sentence in answer.content.decode()
    words = [*grant.verb_labels, "requester", "prod", "monthly", "crm"]
    assert [word for word in words if word not in sentence] == []
    assert "cover" in answer.content.decode()


def test_the_scope_of_all_environments_depends_on_the_effect(requester: User) -> None:
    """An allowing grant leaves out protected environments, a denying one does not; the labels must differ."""
    allowing, denying = given(requester), given(requester, effect="deny")
    assert grant_labels.scope_label(allowing) != grant_labels.scope_label(denying)
    assert "unprotected" in grant_labels.scope_label(allowing)
    assert "unprotected" not in grant_labels.scope_label(denying)


def test_the_list_shows_what_is_in_force_and_the_rest_when_asked_for(
    admin_user: User, requester: User, login: Login
) -> None:
    now = timezone.now()
    given(requester, flow_name="flow-now")
    given(requester, flow_name="flow-later", valid_from=now + timedelta(days=1))
    Grant.objects.filter(pk=given(requester, flow_name="flow-over").pk).update(valid_until=now - timedelta(days=1))
    grants.revoke(given(requester, flow_name="flow-revoked"), by=Actor.system())
    client = login(admin_user)
    for query, shown in {
        "": {"now"},
        "?standing=later": {"later"},
        "?standing=expired": {"over"},
        "?standing=revoked": {"revoked"},
        "?standing=all": {"now", "later", "over", "revoked"},
        "?standing=nonsense": {"now"},
        "?standing=all&effect=deny": set(),
        "?standing=all&q=flow-re": {"revoked"},
        "?standing=all&q=portal": {"now", "later", "over", "revoked"},
        "?standing=all&q=requester": {"now", "later", "over", "revoked"},
    }.items():
        page = client.get(LIST + query).content.decode()
        found = {name for name in ("now", "later", "over", "revoked") if f"flow flow-{name}" in page}
        assert found == shown, query


@pytest.mark.parametrize("reader", ["viewer", "requester", "approver", "stranger"])
def test_nobody_else_reads_or_gives_grants(
    request: pytest.FixtureRequest, login: Login, admin_user: User, reader: str
) -> None:
    grant = given(admin_user)
    user = request.getfixturevalue(reader)
    client = login(user)
    assert client.get(LIST).status_code == 403
    assert client.get(page_of(grant)).status_code == 403
    assert client.get(ADD).status_code == 403
    assert client.post(ADD, typed(user)).status_code == 403
    assert client.post(revoke_of(grant)).status_code == 403
    grant.refresh_from_db()
    assert grant.revoked_at is None


def test_an_auditor_reads_grants_and_changes_none(auditor: User, requester: User, login: Login) -> None:
    grant = given(requester)
    client = login(auditor)
    assert client.get(LIST).status_code == 200
    assert "?again=" not in client.get(page_of(grant)).content.decode()
    assert revoke_of(grant) not in client.get(page_of(grant)).content.decode()
    assert client.get(ADD).status_code == 403
    assert client.post(revoke_of(grant)).status_code == 403


def test_a_condition_on_values_is_kept_and_told_in_words(admin_user: User, viewer: User, login: Login) -> None:
    client = login(admin_user)
    values = typed(viewer, verbs=["trigger"], predicate='{"properties": {"region": {"const": "EU"}}}', ticket="OPS-7")
    page = client.post(ADD, values, follow=True).content.decode()
    grant = Grant.objects.get(person=viewer)
    assert (grant.predicate, grant.ticket) == (EU, "OPS-7")
    assert grant_labels.describe(grant) in page
    assert "OPS-7" in page
    assert "only when region is EU" in client.get(LIST).content.decode()


def test_the_form_explains_every_verb_and_shows_examples(admin_user: User, login: Login) -> None:
    page = login(admin_user).get(ADD).content.decode()
    assert sorted(verb for verbs in grant_labels.VERBS.values() for verb in verbs) == sorted(Verb)
    for opens in (opens for verbs in grant_labels.VERBS.values() for opens in verbs.values()):
        assert opens in page
    for meaning, schema in grant_labels.EXAMPLES.items():
        assert meaning in page
        assert predicates.problems(json.loads(schema)) == []
        assert html.escape(schema) in page


def test_a_grant_that_is_over_can_be_given_again(
    admin_user: User, viewer: User, prod: Environment, login: Login
) -> None:
    past, soon = timezone.now() - timedelta(days=1), timezone.now() + timedelta(days=1)
    grant = given(viewer, environment=prod, predicate=EU, tag="crm", valid_until=soon)
    client = login(admin_user)
    assert "?again=" not in client.get(page_of(grant)).content.decode()
    Grant.objects.filter(pk=grant.pk).update(valid_until=past)
    page = client.get(page_of(grant)).content.decode()
    assert f"{ADD}?again={grant.pk}" in page
    form = client.get(f"{ADD}?again={grant.pk}").content.decode()
    assert f'<option value="person:{viewer.pk}" selected>' in form
    assert f'<option value="{prod.pk}" selected>' in form
    assert 'value="crm"' in form
    assert 'name="rules-1-parameter" value="region"' in form
    assert 'name="rules-1-value" value="EU"' in form
    assert 'name="valid_until" class' not in form or str(past.year) not in form.split('name="valid_until"')[1][:80]
    for key in ("999", "nonsense"):
        assert client.get(f"{ADD}?again={key}").status_code == 404


# Handing on


def manager(prod: Environment, **columns: Any) -> User:
    user = person("manager")
    given(user, verbs=["see", "trigger", "manage"], environment=prod, flow_name="monthly", **columns)
    return user


@pytest.mark.usefixtures("single_administrator")
def test_whoever_manages_hands_on_what_they_hold_and_nothing_else(
    prod: Environment, dev: Environment, viewer: User, login: Login
) -> None:
    client = login(manager(prod))
    page = client.get(ADD).content.decode()
    assert 'name="effect" value="deny"' not in page
    assert ">dev<" not in page
    fits = typed(viewer, environment=prod.pk, flow_name="monthly", reason="cover")
    assert client.post(ADD, fits).status_code == 302
    grant = Grant.objects.get(person=viewer)
    assert grant.granted_by_name == "manager"
    for field, (value, error) in {
        "verbs": (["approve"], ("__all__", "grant.beyond_own")),
        "flow_name": ("other", ("__all__", "grant.beyond_own")),
        "effect": ("deny", ("effect", "invalid_choice")),
        "environment": (dev.pk, ("environment", "invalid_choice")),
    }.items():
        answer = client.post(ADD, fits | {field: value})
        assert answer.status_code == 200
        assert form_errors(answer) == {error}, field
    assert list(Grant.objects.filter(person=viewer)) == [grant]
    assert last_entry().outcome == "refused"


@pytest.mark.usefixtures("single_administrator")
def test_what_is_handed_on_is_bound_to_the_same_values(prod: Environment, viewer: User, login: Login) -> None:
    user = person("manager")
    given(user, verbs=["see", "manage"], environment=prod)
    given(user, verbs=["trigger"], environment=prod, predicate=EU)
    values = typed(viewer, verbs=["trigger"], environment=prod.pk, reason="cover")
    assert login(user).post(ADD, values).status_code == 302
    assert Grant.objects.get(person=viewer).predicate == EU


def test_whoever_manages_sees_what_they_gave_and_what_bears_on_it(
    prod: Environment, prod_deployment: Deployment, deployment: Deployment, viewer: User, login: Login
) -> None:
    user = manager(prod)
    bears = given(viewer, environment=prod, tag="crm")
    other, elsewhere = given(viewer, environment=prod, flow_name="other"), given(viewer, flow_name="monthly")
    client = login(user)
    listed = client.get(f"{LIST}?standing=all").content.decode()
    for grant, is_seen in ((bears, True), (other, False), (elsewhere, False)):
        assert (page_of(grant) in listed) == is_seen, grant
        assert client.get(page_of(grant)).status_code == (200 if is_seen else 404)
    assert client.get(f"{ADD}?again={other.pk}").status_code == 404
    assert revoke_of(bears) not in client.get(page_of(bears)).content.decode()
    assert client.post(revoke_of(bears)).status_code == 403
    given_by_them = grants.grant(
        by=by(user), person=viewer, verbs=["see"], environment=prod, flow_name="monthly", reason="x"
    )
    assert client.post(revoke_of(given_by_them), {"reason": "over"}).status_code == 302
    given_by_them.refresh_from_db()
    assert given_by_them.revoked_at


def test_a_filter_does_not_reach_grants_that_a_manager_may_not_see(
    prod: Environment, prod_deployment: Deployment, viewer: User, login: Login
) -> None:
    other = given(viewer, environment=prod, flow_name="other", reason="hush")
    client = login(manager(prod))
    for query in ("q=hush", "q=other", "flow_name=other", "person__username=viewer", "person__password__startswith=a"):
        assert page_of(other) not in client.get(f"{LIST}?standing=all&{query}").content.decode()


# Revoking


def test_a_grant_is_revoked_with_its_reason_and_stays_to_be_read(
    admin_user: User, requester: User, login: Login
) -> None:
    grant = given(requester)
    client = login(admin_user)
    client.post(revoke_of(grant), {"reason": "Left the team"})
    grant.refresh_from_db()
    assert (grant.revoked_by_name, bool(grant.revoked_at)) == ("administrator", True)
    assert client.get(page_of(grant)).status_code == 200
    assert (last_entry().verb, last_entry().reason) == ("grant.revoke", "Left the team")


def test_a_grant_that_was_revoked_says_so_the_second_time(admin_user: User, requester: User, login: Login) -> None:
    grant = given(requester)
    client = login(admin_user)
    client.post(revoke_of(grant))
    assert refusal_codes(client.post(revoke_of(grant), follow=True)) == {"grant.revoked"}


def test_a_grant_is_neither_edited_nor_deleted(admin_user: User, requester: User, login: Login) -> None:
    grant = given(requester)
    client = login(admin_user)
    assert client.post(page_of(grant), {"verbs": ["approve"]}).status_code == 405
    assert client.get(revoke_of(grant)).status_code == 405
    assert client.post(reverse("admin:runs_grant_delete", args=[grant.pk]), {"post": "yes"}).status_code == 403
    client.post(LIST, {"action": "delete_selected", "_selected_action": grant.pk, "post": "yes"})
    grant.refresh_from_db()
    assert grant.verbs == ["trigger"]


def test_a_revoked_grant_bites_on_the_next_request(admin_user: User, deployment: Deployment, login: Login) -> None:
    user = person("guest")
    grant = given(user, verbs=["see"])
    page = reverse("admin:flows_deployment_change", args=[deployment.pk])
    guest = login(user)
    assert guest.get(page).status_code == 200
    login(admin_user).post(revoke_of(grant), {"reason": "enough", "ticket": "OPS-1"})
    assert guest.get(page).status_code == 404


# Why, and why not


def ask(client: Client, about: Deployment, **values: Any) -> Any:
    typed = {"verb": "trigger", "environment": about.environment_id, "deployment": about.full_name}
    return client.post(WHY, typed | values)


def explain(client: Client, about: Deployment, **values: Any) -> str:
    """Return the code of the decision that the page shows."""
    found = re.findall(r'data-code="([^"]*)" role="status"', ask(client, about, **values).content.decode())
    return str(found[0]) if found else ""


@pytest.mark.parametrize("address", [WHY, reverse_lazy("admin:runs_grant_mine")])
def test_the_pages_for_everyone_link_to_nothing_that_answers_403(viewer: User, login: Login, address: str) -> None:
    client = login(viewer)
    main = client.get(str(address)).content.decode()
    links = set(re.findall(r'href="(/admin/[^"]*)"', main))
    assert links
    assert [link for link in links if client.get(html.unescape(link)).status_code in (403, 404)] == []


def test_a_denied_manage_does_not_open_the_form(viewer: User, admin_user: User, login: Login) -> None:
    address = reverse("admin:runs_grant_add")
    grants.grant(by=by(admin_user), person=viewer, verbs=["manage"], effect="deny", reason="x")
    assert login(viewer).get(address).status_code == 403
    assert login(admin_user).get(address).status_code == 200


def test_a_redeployed_name_explains_the_deployment_of_that_name_now(
    admin_user: User, requester: User, deployment: Deployment, login: Login
) -> None:
    """Of two rows with one name, the one that is still there: the deleted one has another schema and other tags."""
    Deployment.objects.filter(pk=deployment.pk).update(deleted_upstream_at=timezone.now(), tags=["old"])
    Deployment.objects.create(
        environment=deployment.environment,
        prefect_id=uuid4(),
        flow_id=uuid4(),
        flow_name=deployment.flow_name,
        name=deployment.name,
        full_name=deployment.full_name,
        tags=["new"],
        parameter_schema=deployment.parameter_schema,
        synced_at=timezone.now(),
    )
    grants.grant(by=by(admin_user), person=requester, verbs=["approve"], tag="new", reason="x")
    assert explain(login(admin_user), deployment, person=requester.pk, verb="approve") == "access.granted"


def test_everybody_may_ask_why_of_themselves(deployment: Deployment, viewer: User, login: Login) -> None:
    grants.revoke(given(viewer), by=Actor.system())
    client = login(viewer)
    assert 'name="person"' not in client.get(f"{WHY}?deployment={deployment.pk}").content.decode()
    answer = ask(client, deployment)
    page = answer.content.decode()
    assert 'data-code="access.no_grant"' in page
    (ignored,) = answer.context["answer"]["ignored"]
    assert ignored[0].revoked_at
    assert ignored[0].revoked_by_name in ignored[2], "the reason names who revoked it"
    assert html.escape(ignored[2]) in page
    assert page_of(ignored[0]) not in page, "who may not open a grant gets no link to it"
    entry = last_entry()
    assert (entry.verb, entry.actor_name, entry.subject_name) == ("person.try", "viewer", "viewer")
    assert entry.after == {"verb": "trigger", "deployment": "monthly/monthly", "answer": "access.no_grant"}


def test_nobody_asks_of_others_but_administrators(
    deployment: Deployment, viewer: User, requester: User, admin_user: User, login: Login
) -> None:
    assert explain(login(viewer), deployment, person=requester.pk) == "access.no_grant"
    assert last_entry().subject_name == "viewer", "the answer is about themselves"
    answer = ask(login(admin_user), deployment, person=requester.pk)
    assert answer.context["answer"]["decision"].allowed
    ((grant, sentence),) = answer.context["answer"]["deciding"]
    assert grant.group.name == "Operator"
    assert html.escape(sentence) in answer.content.decode()
    assert (last_entry().actor_name, last_entry().subject_name) == ("administrator", "requester")


def test_the_answer_takes_values_into_account(
    deployment: Deployment, stranger: User, admin_user: User, login: Login
) -> None:
    given(stranger, predicate={"properties": {"rows": {"maximum": 100}}})
    client = login(admin_user)
    for parameters, code in {
        '{"month": "2026-01"}': "access.granted",
        '{"month": "2026-01", "rows": 101}': "access.values",
        '{"month": "never", "rows": 101}': "access.values",
        "": "access.granted",
    }.items():
        assert explain(client, deployment, person=stranger.pk, parameters=parameters) == code, parameters
    for parameters, code in {"rows": "json", "[1]": "object"}.items():
        answer = ask(client, deployment, person=stranger.pk, parameters=parameters)
        assert form_errors(answer) == {("parameters", code)}


def test_a_deployment_that_is_not_seen_cannot_be_asked_about(
    deployment: Deployment, prod_deployment: Deployment, viewer: User, login: Login
) -> None:
    client, before = login(viewer), AuditEntry.objects.count()
    assert form_errors(ask(client, prod_deployment)) == {("environment", "invalid_choice")}
    assert form_errors(ask(client, deployment, deployment="other/other")) == {("deployment", "unknown")}
    assert "monthly" not in client.get(f"{WHY}?deployment={prod_deployment.pk}").content.decode().split("datalist")[0]
    assert AuditEntry.objects.count() == before


def test_a_grant_of_an_environment_that_is_hidden_is_not_told(
    deployment: Deployment, prod: Environment, viewer: User, login: Login
) -> None:
    given(viewer, environment=prod, flow_name="hush", effect="deny")
    assert "hush" not in ask(login(viewer), deployment).content.decode()
    assert "hush" not in login(viewer).get(MINE).content.decode()


def test_everybody_reads_what_they_may_do(dev: Environment, requester: User, stranger: User, login: Login) -> None:
    answer = login(requester).get(MINE)
    page = answer.content.decode()
    labels = f"{Verb.TRIGGER.label}, {Verb.TRIGGER_LATER.label}"
    for words in ("dev", "prod", "through Operator", labels):
        assert words in page
    assert 'data-code="no_grant"' not in page
    assert 'data-code="no_grant"' in login(stranger).get(MINE).content.decode()


# Trying as somebody


PREVIEW = 'data-panel="preview"'


def try_of(user: User) -> str:
    return reverse("admin:auth_user_try", args=[user.pk])


def test_an_administrator_sees_what_somebody_would_see_and_stays_themselves(
    deployment: Deployment, prod_deployment: Deployment, viewer: User, requester: User, admin_user: User, login: Login
) -> None:
    client = login(admin_user)
    assert PREVIEW not in client.get(try_of(viewer)).content.decode()
    answer = client.post(try_of(viewer), {"reason": "They cannot find it"})
    shown = answer.content.decode().partition(PREVIEW)[2]
    assert shown.count(">monthly<div>") == 1
    (row,) = answer.context["preview"]["rows"]
    assert html.escape(row.why_no_run) in shown
    assert (row.buttons, bool(row.why_no_run)) == ("", True)
    assert "Audit trail" not in shown[: shown.index("</dl>")]
    answer = client.post(try_of(requester))
    shown = answer.content.decode().partition(PREVIEW)[2]
    assert shown.count(">monthly<div>") == 2
    assert [row.why_no_run for row in answer.context["preview"]["rows"]] == ["", ""]
    assert ">Run" in shown
    assert client.get(PEOPLE).status_code == 200, "nobody was signed in as anybody else"
    entries = AuditEntry.objects.filter(verb="person.try").order_by("sequence")
    assert [(each.actor_name, each.subject_name, each.reason) for each in entries] == [
        ("administrator", "viewer", "They cannot find it"),
        ("administrator", "requester", ""),
    ]


def test_a_look_can_be_narrowed_by_words(
    deployment: Deployment, requester: User, admin_user: User, login: Login
) -> None:
    client = login(admin_user)
    assert ">monthly<div>" in client.post(try_of(requester), {"words": "MONTH"}).content.decode()
    assert client.post(try_of(requester), {"words": "week"}).context["preview"]["rows"] == []


def test_only_administrators_try(viewer: User, requester: User, auditor: User, login: Login) -> None:
    before = AuditEntry.objects.count()
    for user in (viewer, auditor):
        assert login(user).get(try_of(requester)).status_code == 403
        assert login(user).post(try_of(requester)).status_code == 403
    # Whoever posts all the same is in the trail, once.
    entries = AuditEntry.objects.order_by("sequence")[before:]
    assert [(entry.verb, entry.actor_name) for entry in entries] == [
        ("portal.refuse", viewer.username),
        ("portal.refuse", auditor.username),
    ]
    with refused("access.no_grant"):
        preview.preview_as(requester, by=by(viewer))
    assert (last_entry().verb, last_entry().outcome) == ("person.try", "refused")


# People and groups


def test_the_page_of_a_person_tells_what_they_may_do_and_through_which_group(
    admin_user: User, requester: User, dev: Environment, login: Login
) -> None:
    given(requester, verbs=["approve"], flow_name="monthly", predicate=EU)
    given(requester, verbs=["cancel"], effect="deny", tag="crm")
    page = login(admin_user).get(page_of_person(requester)).content.decode()
    panel = page.partition('data-panel="permissions"')[2]
    labels = f"{Verb.TRIGGER.label}, {Verb.TRIGGER_LATER.label}"
    for words in ("through Operator", labels, "approve", "flow monthly", "region is EU"):
        assert words in panel, words
    assert panel.count('class="is-long" data-tone="red"') == 2, "a deny for all environments is listed in each"


def test_only_administrators_see_people_and_groups(
    requester: User, auditor: User, stranger: User, login: Login
) -> None:
    helper = person("helper")
    helper.user_permissions.set(Permission.objects.filter(content_type__app_label="auth"))
    for reader in (requester, auditor, stranger, helper):
        client = login(reader)
        for url in (
            PEOPLE,
            page_of_person(requester),
            reverse("admin:auth_group_changelist"),
            reverse("admin:auth_user_add"),
        ):
            assert client.get(url).status_code == 403, (reader, url)
        escalated = {"username": reader.username, "is_active": "on", "is_staff": "on", "is_superuser": "on"}
        assert client.post(page_of_person(reader), escalated).status_code == 403
        password = reverse("admin:auth_user_password_change", args=[requester.pk])
        assert client.post(password, {"password1": "x", "password2": "x"}).status_code == 403
        reader.refresh_from_db()
        assert not reader.is_superuser


def test_a_change_of_an_account_is_audited_with_its_groups(admin_user: User, requester: User, login: Login) -> None:
    group = Group.objects.get(name="Approver")
    values = {"username": "requester", "is_active": "on", "is_staff": "on", "groups": [group.pk]}
    assert login(admin_user).post(page_of_person(requester), values).status_code == 302
    entry = last_entry()
    assert (entry.verb, entry.subject_kind, entry.subject_name) == ("person.change", "person", "requester")
    assert (entry.before, entry.after) == ({"groups": ["Operator"]}, {"groups": ["Approver"]})
    assert [each.name for each in requester.groups.all()] == ["Approver"]


def test_a_new_person_may_sign_in_and_has_the_groups_that_were_ticked(admin_user: User, login: Login) -> None:
    group = Group.objects.get(name="Viewer")
    answer = login(admin_user).post(
        reverse("admin:auth_user_add"),
        {
            "username": "nina",
            "usable_password": "true",
            "password1": "a-long-enough-phrase",
            "password2": "a-long-enough-phrase",
            "groups": [group.pk],
            "is_staff": "on",
        },
    )
    assert answer.status_code == 302, answer.content.decode()
    nina = User.objects.get(username="nina")
    assert nina.is_staff
    assert nina.check_password("a-long-enough-phrase")
    assert [each.name for each in nina.groups.all()] == ["Viewer"]
    assert last_entry().verb == "person.create"
    assert "a-long-enough-phrase" not in f"{last_entry().after}"


def test_an_administrator_cannot_lock_everybody_out(admin_user: User, login: Login) -> None:
    values = {"username": admin_user.username, "is_staff": "on", "is_active": "on"}
    answer = login(admin_user).post(page_of_person(admin_user), values, follow=True)
    assert refusal_codes(answer) == {"administrator.own"}
    admin_user.refresh_from_db()
    assert admin_user.is_superuser
    assert last_entry().outcome == "refused"


@pytest.mark.usefixtures("single_administrator")
def test_a_password_that_is_set_is_audited_without_being_told(admin_user: User, requester: User, login: Login) -> None:
    url = reverse("admin:auth_user_password_change", args=[requester.pk])
    values = {"usable_password": "true", "password1": "another-long-phrase", "password2": "another-long-phrase"}
    values |= {"loosening_reason": "lost phone", "loosening_confirm": "prod"}
    assert login(admin_user).post(url, values).status_code == 302
    requester.refresh_from_db()
    assert requester.check_password("another-long-phrase")
    assert (last_entry().verb, last_entry().subject_name) == ("person.password", "requester")
    assert "another-long-phrase" not in str(vars(last_entry()))


def test_the_own_password_is_changed_where_the_old_one_is_asked_for(admin_user: User, login: Login) -> None:
    url = reverse("admin:auth_user_password_change", args=[admin_user.pk])
    assert login(admin_user).get(url).url == reverse("admin:password_change")  # type: ignore[attr-defined]  # a redirect


def test_the_page_of_a_person_shows_nothing_of_the_password(admin_user: User, login: Login) -> None:
    user = User.objects.create_user("nina", password="a-long-enough-phrase")
    page = login(admin_user).get(page_of_person(user)).content.decode()
    assert "algorithm" not in page
    assert user.password.split("$")[-1][:6] not in page


def test_people_and_groups_are_not_deleted(admin_user: User, requester: User, login: Login) -> None:
    client = login(admin_user)
    assert client.post(reverse("admin:auth_user_delete", args=[requester.pk]), {"post": "yes"}).status_code == 403
    group = Group.objects.get(name="Viewer")
    assert client.post(reverse("admin:auth_group_delete", args=[group.pk]), {"post": "yes"}).status_code == 403


def test_a_group_holds_only_permissions_that_open_something(admin_user: User, login: Login) -> None:
    group = Group.objects.get(name="Viewer")
    url = reverse("admin:auth_group_change", args=[group.pk])
    client = login(admin_user)
    allowed = Permission.objects.get(codename="view_grant")
    dangerous = Permission.objects.get(codename="change_user")
    assert client.post(url, {"name": "Viewer", "permissions": [dangerous.pk]}).status_code == 200
    assert client.post(url, {"name": "Viewer", "permissions": [allowed.pk]}).status_code == 302
    assert [each.codename for each in group.permissions.all()] == ["view_grant"]
    assert last_entry().after == {"permissions": ["view_grant"]}
