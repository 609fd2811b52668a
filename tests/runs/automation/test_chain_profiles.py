"""Resource profiles of the steps of chains: saved with a version, chosen with a run, frozen, and asked again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, User

from flows.models import Environment
from runs import changes
from runs.automation import chains
from runs.automation.chain_plan import plan_run
from runs.governance import resource_profiles
from runs.models import Chain, ChangeRequest, ResourceProfile
from runs.models.request import State
from tests.cast import by
from tests.fakes import records
from tests.fakes.prefect import FakePrefect
from tests.made_chains import deploy, go_on, latest, step
from tests.made_chains import make as save
from tests.portal.mcp_calls import actor, an_agent, done, refused_with
from tests.refusals import refused
from tests.runs.requests.test_resource_profiles import LARGE, TEMPLATE, make

pytestmark = pytest.mark.django_db
__all__ = ["make"]
Make = Callable[..., ResourceProfile]
MONTH = {"month": "2026-10"}
HUGE = {"cpu": 16}


def in_pool(environment: Environment, fake: FakePrefect, *keys: str) -> None:
    fake.add_work_pool("gpu", type="kubernetes", base_job_template=TEMPLATE, queues=(records.work_queue("default"),))
    deploy(environment, fake, *keys, work_pool_name="gpu", work_queue_name="default")


@pytest.fixture
def deployed(dev: Environment, fake: FakePrefect, make: Make) -> Environment:
    in_pool(dev, fake, "load", "train")
    make(dev)
    make(dev, "huge", job_variables=HUGE, allows_agents=True)
    return dev


@pytest.fixture
def chain(deployed: Environment, requester: User) -> Chain:
    return save(deployed, requester, step("load", profile="large"), step("train", "load", choose_profile=True))


def profiles(change: ChangeRequest) -> list[str]:
    return [spec.profile_name for spec in change.specs.order_by("position")]


def test_what_it_sets_is_frozen_approved_and_sent(
    prod: Environment,
    prod_fake: FakePrefect,
    requester: User,
    approver: User,
    make: Make,
    single_administrator: None,
) -> None:
    in_pool(prod, prod_fake, "load")
    for name, variables in (("large", LARGE), ("huge", HUGE)):
        make(prod, name, job_variables=variables, reason="r", confirm="prod")
    chain = save(prod, requester, step("load", profile="large", choose_profile=True))
    change, other = (
        chains.request_run(chain, MONTH, by=by(requester), reason="r", profiles=chosen)
        for chosen in ({}, {"load": "huge"})
    )
    assert change.specs.get().profile == {"name": "large", "work_queue": "", "job_variables": LARGE}
    assert (profiles(other), other.specs.get().digest == change.specs.get().digest) == (["huge"], False)
    changes.approve(change, by=by(approver))
    go_on()
    (record,) = prod_fake.flow_runs([latest(change, "load").flow_run_id])
    assert record.job_variables == LARGE


def test_another_profile_is_another_version_and_the_requester_chooses_only_where_it_says(
    deployed: Environment, chain: Chain, requester: User
) -> None:
    steps = [step("load", profile="huge"), step("train", "load", choose_profile=True)]
    assert chains.save(deployed, chain.name, {"steps": steps}, by=by(requester), chain=chain).number == 2
    chosen = chains.request_run(chain, MONTH, by=by(requester), profiles={"train": "large"})
    assert profiles(chosen) == ["huge", "large"]
    assert profiles(chains.request_run(chain, MONTH, by=by(requester))) == ["huge", ""]
    for wrong in ({"load": "large"}, {"load": "huge"}, {"nowhere": ""}):
        with refused("chain.profile_fixed"):
            chains.request_run(chain, MONTH, by=by(requester), profiles=wrong)


@pytest.mark.parametrize(
    ("code", "more"),
    [
        ("chain.definition", {"profile": 7}),
        ("chain.definition", {"choose_profile": "yes"}),
        ("resource_profile.gone", {"profile": "none"}),
        ("resource_profile.not_allowed", {"profile": "others"}),
        ("resource_profile.other_pool", {"profile": "elsewhere"}),
    ],
)
def test_one_that_the_step_cannot_have_is_refused_at_that_step(
    deployed: Environment,
    fake: FakePrefect,
    requester: User,
    make: Make,
    code: str,
    more: dict[str, Any],
) -> None:
    Group.objects.create(name="Others")
    make(deployed, "others", groups=["Others"])
    fake.add_work_pool("cpu", type="process", base_job_template=TEMPLATE)
    deploy(deployed, fake)
    make(deployed, "elsewhere", pool_name="cpu")
    with refused(code) as refusal:
        chains.save(deployed, "Close", {"steps": [step("load", **more)]}, by=by(requester))
    assert refusal.value.data["step"] == "load"


def test_it_is_asked_again_when_requested_and_at_the_launch(
    deployed: Environment, chain: Chain, requester: User, admin_user: User, fake: FakePrefect
) -> None:
    change = chains.request_run(chain, MONTH, by=by(requester))
    resource_profiles.remove(ResourceProfile.objects.get(name="large"), by=by(admin_user))
    with refused("resource_profile.gone"):
        chains.request_run(chain, MONTH, by=by(requester))
    go_on()
    change.refresh_from_db()
    assert latest(change, "load").state == State.REFUSED
    assert change.progress == ChangeRequest.Progress.STOPPED
    assert not [call for call in fake.calls if call.method == "create_flow_run"]


def test_a_template_of_the_pool_that_changed_since_refuses_it_at_the_launch(
    deployed: Environment, chain: Chain, requester: User, fake: FakePrefect
) -> None:
    change = chains.request_run(chain, MONTH, by=by(requester))
    fake.change_work_pool("gpu", base_job_template={"variables": {"type": "object", "properties": {}}})
    deploy(deployed, fake)
    go_on()
    assert latest(change, "load").state == State.REFUSED


def test_a_plan_says_what_it_sets_and_is_another_plan_when_that_has_changed(
    deployed: Environment, chain: Chain, requester: User, admin_user: User, make: Make
) -> None:
    plan = plan_run(chain, MONTH, by=by(requester))
    assert [dict(each.outline.profile).get("job_variables") for each in plan.steps] == [LARGE, None]
    assert chains.request_run(chain, MONTH, by=by(requester), displayed_plan=plan.digest)
    resource_profiles.remove(ResourceProfile.objects.get(name="large"), by=by(admin_user))
    make(deployed, job_variables=HUGE)
    with refused("chain.plan_changed"):
        chains.request_run(chain, MONTH, by=by(requester), displayed_plan=plan.digest)


def test_an_agent_has_only_what_is_for_agents(chain: Chain, deployed: Environment, requester: User) -> None:
    helper = actor(an_agent(requester, at_once=9))
    assert refused_with(helper, "request_chain", chain=chain.pk, inputs=MONTH) == "resource_profile.not_allowed"
    free = save(deployed, requester, step("train", choose_profile=True), name="Free")
    (read,) = done(helper, "chain", chain=free.pk)["steps"]
    assert [each["name"] for each in read["profiles"]] == ["huge"]
    made = done(helper, "request_chain", chain=free.pk, inputs=MONTH, profiles={"train": "huge"})
    assert made["steps"][0]["profile"]["text"] == "huge"
    asked = {"chain": free.pk, "inputs": MONTH, "profiles": {"train": "large"}}
    assert refused_with(helper, "request_chain", **asked) == "resource_profile.not_allowed"
