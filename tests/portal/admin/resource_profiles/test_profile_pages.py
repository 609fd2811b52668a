"""The pages of resource profiles, and where a run form, its review and a request show one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from flows.models import Deployment
from portal.admin.resource_profiles.forms import read_value, spell_value
from runs import requests
from runs.models import ChangeRequest, Preset, ResourceProfile, RunRequest
from tests.cast import by
from tests.fakes.prefect import FakePrefect
from tests.portal.page_elements import attributes, form_errors, has_button, message_codes
from tests.portal.query_counts import count
from tests.runs.requests.test_resource_profiles import LARGE, VALUES, in_pool, make

__all__ = ["make"]
pytestmark = pytest.mark.django_db
Login = Callable[[User], Client]
Make = Callable[..., ResourceProfile]
LIST = reverse("admin:runs_resourceprofile_changelist")
NEW = reverse("admin:runs_resourceprofile_new")


@pytest.fixture
def pooled(deployment: Deployment, fake: FakePrefect) -> Deployment:
    in_pool(deployment, fake)
    return deployment


def typed(deployment: Deployment, **values: Any) -> dict[str, Any]:
    place = f"{deployment.environment_id}/pool/gpu"
    return {
        "place": place,
        "name": "large",
        "job_variables": "cpu = 8\nmemory = 16Gi",
        "groups": ["Operator"],
        **values,
    }


def page_of(profile: ResourceProfile) -> str:
    return reverse("admin:runs_resourceprofile_change", args=[profile.pk])


def test_an_administrator_creates_and_removes_one(
    pooled: Deployment, admin_user: User, viewer: User, stranger: User, login: Login
) -> None:
    client = login(admin_user)
    for values, error in (
        ({"job_variables": "cpu 8"}, ("job_variables", "line")),
        ({"job_variables": "cpu=1\ncpu=2"}, ("job_variables", "twice")),
        ({"job_variables": "cores = 8"}, ("job_variables", "resource_profile.variables")),
        ({"work_queue": "none"}, ("work_queue", "resource_profile.queue")),
        ({"place": "7/pool/none"}, ("place", "invalid_choice")),
        ({"name": ""}, ("name", "required")),
    ):
        assert form_errors(client.post(NEW, typed(pooled, **values))) == {error}, values
    assert message_codes(client.post(NEW, typed(pooled), follow=True)) == ["success"]
    profile = ResourceProfile.objects.get()
    assert (profile.pool_name, profile.job_variables, profile.groups) == ("gpu", LARGE, ["Operator"])
    assert form_errors(client.post(NEW, typed(pooled))) == {("name", "name.taken")}
    like = client.get(f"{NEW}?like={profile.pk}").context["form"]
    assert like["job_variables"].value() == "cpu = 8\nmemory = 16Gi"
    # Others see it, and may do nothing.
    reader = login(viewer)
    assert not has_button(reader.get(page_of(profile)).content.decode(), "remove")
    assert reader.get(NEW).status_code == reader.post(NEW, typed(pooled)).status_code == 403
    remove = reverse("admin:runs_resourceprofile_remove", args=[profile.pk])
    assert reader.post(remove, {"reason": "r"}).status_code == 403
    assert login(stranger).get(page_of(profile)).status_code == 404
    assert message_codes(client.post(remove, {"reason": "r"}, follow=True)) == ["success"]
    assert message_codes(client.post(remove, {"reason": "r"}, follow=True)) == ["resource_profile.removed"]
    assert [each.name for each in reader.get(f"{LIST}?state=removed").context["cl"].result_list] == ["large"]


def test_one_of_a_protected_environment_waits_for_a_signature(
    prod_deployment: Deployment, prod_fake: FakePrefect, admin_user: User, second_administrator: User, login: Login
) -> None:
    in_pool(prod_deployment, prod_fake)
    client = login(admin_user)
    answer = client.post(NEW, typed(prod_deployment))
    assert attributes(answer.content.decode(), "data-loosening") == ["resource_profile.created"]
    confirmed = {"loosening_reason": "bigger jobs", "loosening_confirm": "prod"}
    assert message_codes(client.post(NEW, typed(prod_deployment, **confirmed), follow=True)) == ["rules.waiting"]
    change = ChangeRequest.objects.get()
    page = login(second_administrator).get(reverse("admin:runs_changerequest_change", args=[change.pk]))
    assert "16Gi" in page.content.decode()


def test_the_list_takes_the_same_queries_for_any_number(
    pooled: Deployment, viewer: User, make: Make, login: Login
) -> None:
    client = login(viewer)
    make(pooled.environment, "one", groups=["Operator"])
    few = count(client, LIST)
    for number in range(9):
        make(pooled.environment, f"profile {number}")
    assert count(client, LIST) == few <= 20


def test_it_is_chosen_in_the_run_form_and_reviewed(
    pooled: Deployment, requester: User, viewer: User, make: Make, login: Login
) -> None:
    url = reverse("admin:flows_deployment_run", args=[pooled.pk])
    client = login(requester)
    assert "profile" not in client.get(url).context["options"].fields
    make(pooled.environment)
    make(pooled.environment, "approvers", groups=["Approver"])
    form = client.get(url)
    assert [value for value, _ in form.context["options"].fields["profile"].choices] == ["", "large"]
    fingerprint = {"form_fingerprint": pooled.schema_fingerprint, "start": "now"}
    values = {**fingerprint, "parameters-month": "2026-10", "profile": "large"}
    assert client.post(url, {**values, "profile": "approvers"}).context["options"].errors.keys() == {"profile"}
    review = client.post(url, {**values, "review": "1"})
    assert attributes(review.content.decode(), "data-profile") == ["large"]
    client.post(url, {"draft": review.context["draft"]})
    run_request = RunRequest.objects.get()
    assert run_request.spec.profile["job_variables"] == LARGE
    page = client.get(reverse("admin:runs_runrequest_change", args=[run_request.pk])).content.decode()
    assert attributes(page, "data-profile") == ["large"]


def test_a_rerun_a_preset_and_a_link_fill_it_in(
    pooled: Deployment, requester: User, admin_user: User, make: Make, login: Login
) -> None:
    make(pooled.environment)
    client, url = login(requester), reverse("admin:flows_deployment_run", args=[pooled.pk])
    first = requests.submit(pooled, VALUES, by=by(requester), profile="large")
    saved = reverse("admin:flows_deployment_save_preset", args=[pooled.pk])
    client.post(saved, {"preset_name": "end", "parameters-month": "2026-10", "profile": "large"})
    preset = Preset.objects.get()
    assert preset.profile == "large"
    ResourceProfile.objects.update(removed_at=first.requested_at)
    for query in (f"again={first.pk}", f"preset={preset.pk}", "profile=large"):
        options = client.get(f"{url}?{query}").context["options"]
        # It is gone, and stays chosen: the run is refused, and not started without it.
        assert options["profile"].value() == "large", query
    values = {"form_fingerprint": pooled.schema_fingerprint, "start": "now", "parameters-month": "2026-10"}
    answer = client.post(f"{url}?again={first.pk}", {**values, "profile": "large"})
    assert answer.context["refusal"].code == "resource_profile.gone"
    # What Postgres cannot compare is a name that does not exist.
    for button in ({}, {"review": "1"}):
        assert client.post(f"{url}?profile=%00x", {**values, "profile": "\0x", **button}).status_code == 200
    assert client.post(saved, {"preset_name": "odd", **values, "profile": "\0x"}).status_code == 200


def test_a_value_is_read_as_it_is_spelled() -> None:
    for value in (8, 1.5, True, None, "16Gi", "8", "true", "", ["a", 1], {"a": "b"}, 'say "x"', "a = b"):
        assert read_value(spell_value(value)) == value
