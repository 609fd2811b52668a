"""The access matrix says what the decisions say, for every deployment there could be."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from hypothesis import given
from hypothesis import strategies as st

from flows.models import Environment
from runs.access import access_matrix
from runs.access.access_matrix import Held, Reach
from runs.access.decisions import Target, decide_by
from runs.models import Grant, Verb
from tests.cast import person

PLACES = (Environment(pk=1, slug="dev"), Environment(pk=2, slug="prod", is_protected=True))
TARGETS = [
    Target(place, flow, f"{flow}/{name}", tags)
    for place in PLACES
    for flow in ("a", "b")
    for name in ("x", "y")
    for tags in ((), ("t",), ("t", "u"))
]
GRANTS = st.fixed_dictionaries(
    {
        "effect": st.sampled_from(["allow", "allow", "deny"]),
        "verbs": st.lists(st.sampled_from(["see", "see logs", "trigger", "rerun"]), min_size=1, max_size=2),
        "environment_id": st.sampled_from([None, 1, 2]),
        "flow_name": st.sampled_from(["", "", "a"]),
        "full_name": st.sampled_from(["", "", "a/x"]),
        "tag": st.sampled_from(["", "", "t"]),
        "predicate": st.sampled_from([None, None, {"properties": {"rows": {"maximum": 3}}}]),
    }
)


@given(st.lists(GRANTS, max_size=5), st.sampled_from([Verb.SEE, Verb.SEE_LOGS, Verb.TRIGGER, Verb.RERUN]))
def test_all_and_none_hold_for_every_deployment(columns: list[dict[str, Any]], verb: Verb) -> None:
    grants = [Grant(pk=number, **each) for number, each in enumerate(columns, start=1)]
    for place in PLACES:
        answers = {
            bool(decide_by(grants, verb, each, None, (), who="")) for each in TARGETS if each.environment is place
        }
        found = access_matrix.held(grants, verb, place)
        if found.reach == Reach.ALL:
            assert answers == {True}
        elif found.reach == Reach.NONE:
            assert answers == {False}


@pytest.mark.django_db
def test_people_hold_what_their_groups_hold_and_administrators_more(
    viewer: User, admin_user: User, dev: Environment, prod: Environment
) -> None:
    Grant.objects.create(person=viewer, verbs=["trigger"], environment=prod, flow_name="monthly")
    person("disabled", "Viewer", is_active=False)
    groups = list(Group.objects.filter(name="Viewer"))
    (theirs,), (own, administrators) = (
        access_matrix.of_groups(groups, [dev, prod]),
        access_matrix.of_people([viewer, admin_user], [dev, prod]),
    )
    assert theirs[dev.pk][Verb.SEE] == own[dev.pk][Verb.SEE] == Held(Reach.ALL)
    assert theirs[prod.pk][Verb.SEE] == Held(Reach.NONE)
    assert own[prod.pk][Verb.TRIGGER] == Held(Reach.SOME)
    assert (administrators[prod.pk][Verb.SEE], administrators[prod.pk][Verb.TRIGGER]) == (
        Held(Reach.ALL),
        Held(Reach.NONE),
    )
