"""Notifications through the API: the caller's own, within the scope of the token."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from flows.models import Deployment
from runs import notifications
from runs.models import AuditEntry, TokenScope
from runs.models.notification import Topic
from tests.portal.api.programs import Programs

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def messages(deployment: Deployment, viewer: User, requester: User) -> None:
    dev = deployment.environment
    for person, environment, subject in ((viewer, dev, "one"), (viewer, None, "of several"), (requester, dev, "other")):
        notifications.create(person, Topic.FREEZE, environment, subject, "Why", environment)


def test_a_program_reads_and_marks_those_of_its_person(viewer: User, program: Programs) -> None:
    caller = program(viewer)
    (row,) = caller.get("/notifications?unread=true&environment=dev&topic=freeze").body["items"]
    assert (row["subject"], row["environment"], row["topic"]) == ("one", "dev", "freeze")
    assert "/admin/flows/environment/" in row["url"]
    entries = AuditEntry.objects.count()
    assert caller.post("/notifications/read", {"ids": [row["id"], 0]}).body == {"marked": 1}
    assert caller.post("/notifications/read", {"all": True}).body == {"marked": 0}
    assert caller.get("/notifications?unread=true").body["items"] == []
    assert AuditEntry.objects.count() == entries
    # What is about several environments is for no program.
    assert notifications.count_unread(viewer.pk) == 1
    assert caller.post("/notifications/read", {}).status == 422


@pytest.mark.parametrize("narrow", [{"full_name": "monthly/monthly"}, {"tag": "crm"}, {"verbs": ["see"]}])
def test_a_token_with_a_narrow_scope_reads_none(
    deployment: Deployment, viewer: User, program: Programs, narrow: dict[str, object]
) -> None:
    """A message can name runs that such a token must not see, and quote their logs."""
    scope = TokenScope(**{"verbs": ["see", "see logs"], "environment": deployment.environment} | narrow)
    caller = program(viewer, scope)
    assert caller.get("/notifications").body["items"] == []
    assert caller.post("/notifications/read", {"all": True}).body == {"marked": 0}
