"""Plans of runs of chains: the runs of each step, what exists already, and what would be refused."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from flows.catalog import sync
from flows.models import Environment
from runs.access.decisions import Forbidden
from runs.actors import Actor
from runs.automation import chains
from runs.automation.chain_plan import plan_run
from runs.governance import grants
from runs.models import Chain, ChangeRequest
from tests.cast import by, person
from tests.fakes.prefect import FakePrefect
from tests.made_chains import deploy, end, go_on, make, step
from tests.refusals import refused

pytestmark = pytest.mark.django_db
MONTHS = {"months": "2026-01..2026-02"}


@pytest.fixture
def chain(dev: Environment, fake: FakePrefect, requester: User) -> Chain:
    deploy(dev, fake, "load", "train")
    over = {"month": {"over": {"input": "months"}}, "rows": {"over": "5, 7"}}
    constant = {"month": {"value": "2026-10"}}
    return make(dev, requester, step("load", parameters=over), step("train", "load", parameters=constant))


def test_it_has_each_run_and_what_is_submitted_is_what_was_displayed(
    chain: Chain, requester: User, dev: Environment, fake: FakePrefect
) -> None:
    plan = plan_run(chain, MONTHS, by=by(requester))
    load, train = plan.steps
    assert [load.shown(item) for item in load.items] == [
        {"month": month, "rows": rows} for month in ("2026-01", "2026-02") for rows in (5, 7)
    ]
    assert (plan.runs, plan.refused, len(train.items), train.names) == (5, 0, 1, [])
    assert not ChangeRequest.objects.exists()
    with refused("chain.plan_changed"):
        chains.request_run(chain, {"months": "2026-01"}, by=by(requester), displayed_plan=plan.digest)
    change = chains.request_run(chain, MONTHS, by=by(requester), displayed_plan=plan.digest)
    go_on()
    end(change, "load", "COMPLETED", fake)
    # What exists is displayed, and nothing is skipped because of it.
    again = plan_run(chain, MONTHS, by=by(requester))
    assert (again.digest, again.runs) == (plan.digest, 5)
    assert again.steps[0].items[0].earlier
    for record in fake.deployments():
        fake.change_deployment(record.id, entrypoint="other.py:flow")
    sync.sync(dev)
    with refused("chain.plan_changed"):
        chains.request_run(chain, MONTHS, by=by(requester), displayed_plan=plan.digest)


def test_it_says_of_each_run_why_it_would_be_refused(chain: Chain, dev: Environment) -> None:
    some = person("some")
    grants.grant(by=Actor.system(), person=some, verbs=["see"], environment=dev)
    with pytest.raises(Forbidden):
        plan_run(chain, MONTHS, by=by(some))
    few = {"properties": {"rows": {"maximum": 5}}}
    grants.grant(by=Actor.system(), person=some, verbs=["trigger", "backfill"], environment=dev, predicate=few)
    plan = plan_run(chain, {"months": "2026-01, soon"}, by=by(some))
    load, train = plan.steps
    assert [item.code for item in load.items[:2]] == ["", "access.values"]
    assert load.items[2].code == "parameter.pattern"
    # Values that come from inputs are the reader's own; constants need permission to view parameters.
    assert (load.names, load.shown(load.items[0])) == (["month"], {"month": "2026-01"})
    assert (plan.refused, train.items[0].code) == (4, "access.values")
    with pytest.raises(Forbidden) as forbidden:
        chains.request_run(chain, MONTHS, by=by(some))
    assert "run 2" in str(forbidden.value)


def test_a_chain_has_a_limit_of_its_own(dev: Environment, fake: FakePrefect, requester: User) -> None:
    deploy(dev, fake, "load")
    many = {"month": {"over": "2025-01..2026-12"}, "rows": {"over": "1..8"}}
    steps = [{**step(f"load-{number}", parameters=many), "deployment": "load/daily"} for number in range(6)]
    with refused("chain.over_values"):
        plan_run(make(dev, requester, *steps), {}, by=by(requester))
    five = make(dev, requester, *steps[:5], name="Five")
    assert chains.request_run(five, {}, by=by(requester)).specs.count() == 5
