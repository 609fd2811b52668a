"""The list of failures, the page of one, and where other pages lead to them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from flows.models import Deployment
from runs import failures
from runs.actors import Actor
from runs.governance import grants
from runs.models import FailureGroup, Run
from tests.cast import by, person
from tests.failed_runs import SAYS_NOTHING, a_failure, fail, grouped
from tests.portal.page_elements import attributes, has_button, message_codes
from tests.portal.query_counts import count

pytestmark = pytest.mark.django_db
Login = Callable[[User], Client]
LIST = reverse("admin:runs_failuregroup_changelist")
OVERVIEW = reverse("admin:index")
EVIL = "<script>alert(1)</script>"


@pytest.fixture
def group(deployment: Deployment) -> FailureGroup:
    return a_failure(deployment)


@pytest.fixture
def blind(deployment: Deployment) -> User:
    """Sees the deployment, and not what its runs print."""
    user = person("blind")
    grants.grant(by=Actor.system(), person=user, verbs=["see"], environment=deployment.environment)
    return user


def url_of(group: FailureGroup, act: str = "change") -> str:
    return reverse(f"admin:runs_failuregroup_{act}", args=[group.pk])


def page_of(client: Client, group: FailureGroup) -> str:
    answer = client.get(url_of(group))
    assert answer.status_code == 200
    return answer.content.decode()


def press(client: Client, group: FailureGroup, act: str, **data: str) -> list[str]:
    return message_codes(client.post(url_of(group, act), data, follow=True))


def downloaded(client: Client) -> str:
    answer = client.post(reverse("admin:runs_failuregroup_export"))

    async def collect() -> bytes:
        content: AsyncIterator[bytes] = aiter(answer.streaming_content)  # type: ignore[attr-defined]  # a stream
        return b"".join([each async for each in content])

    return async_to_sync(collect)().decode()


def listed(client: Client, **query: str) -> list[int]:
    return [each.pk for each in client.get(LIST, query).context["cl"].result_list]


# The list


def test_the_list_has_visible_groups_and_filters_them(
    group: FailureGroup, prod_deployment: Deployment, requester: User, viewer: User, stranger: User, login: Login
) -> None:
    other = a_failure(prod_deployment, "KeyError: 'month'")
    failures.assign(other, requester, by=by(requester))
    client = login(requester)
    assert listed(client) == [other.pk, group.pk]
    assert listed(login(viewer)) == [group.pk]
    assert login(stranger).get(LIST).status_code == 403
    for query, found in (
        ({"state": "open"}, [other.pk, group.pk]),
        ({"state": "new"}, [group.pk]),
        ({"owner": "requester"}, [other.pk]),
        ({"environment": "prod"}, [other.pk]),
        ({"deployment": "monthly/monthly"}, [other.pk, group.pk]),
        ({"deployment": "week"}, []),
        ({"seen_from": "today"}, [other.pk, group.pk]),
        ({"q": "keyerror"}, [other.pk]),
    ):
        assert listed(client, **query) == found, query


def test_the_list_shows_the_state_as_a_badge_and_a_mute_that_is_over_as_known(
    group: FailureGroup, viewer: User, login: Login
) -> None:
    FailureGroup.objects.update(state="muted", muted_until=timezone.now() - timedelta(minutes=1))
    page = login(viewer).get(LIST).content.decode()
    assert 'title="Known"' in page
    assert 'title="Muted"' not in page


def test_readers_without_logs_neither_see_nor_search_nor_download_messages(
    group: FailureGroup, blind: User, viewer: User, login: Login
) -> None:
    pages = {}
    for user in (viewer, blind):
        client = login(user)
        pages[user.username] = client.get(LIST).content.decode() + page_of(client, group) + downloaded(client)
        assert listed(client, q="bad row") == ([group.pk] if user == viewer else [])
    assert "ValueError" in pages["viewer"]
    assert "ValueError" not in pages["blind"]
    assert attributes(pages["blind"], "data-needs")


def test_it_takes_as_many_queries_for_ten_rows_as_for_two(deployment: Deployment, viewer: User, login: Login) -> None:
    client = login(viewer)
    for name in "ab":
        fail(deployment, f"ValueError: {name}")
    grouped()
    few = count(client, LIST)
    for name in "cdefghij":
        fail(deployment, f"ValueError: {name}")
    assert len(grouped()) == 10
    assert count(client, LIST) == few <= 20


# The page


def test_the_page_says_how_often_why_and_for_which_runs(deployment: Deployment, requester: User, login: Login) -> None:
    group = a_failure(deployment, number=3)
    client = login(requester)
    answer = client.get(url_of(group))
    assert "bad row 7" in answer.content.decode()
    assert [day.number for day in answer.context["days"]][-1] == 3
    assert len(answer.context["runs"].rows) == 3
    assert len(answer.context["to_retry"]) == 3
    listed_runs = client.get(answer.context["runs_url"]).context["cl"].result_list
    assert {run.failure.group_id for run in listed_runs} == {group.pk}
    (today,) = [day for day in answer.context["days"] if day.number]
    assert client.get(today.url).context["cl"].result_count == 3
    assert count(client, url_of(group)) <= 20


def test_what_prefect_says_is_only_text(deployment: Deployment, viewer: User, login: Login) -> None:
    group = a_failure(deployment, f"ValueError: {EVIL}")
    client = login(viewer)
    run = Run.objects.get()
    for url in (LIST, url_of(group), OVERVIEW, reverse("admin:runs_run_change", args=[run.pk])):
        page = client.get(url).content.decode()
        assert EVIL not in page
        assert "alert(" in page


def test_the_same_reason_elsewhere_is_shown_as_far_as_it_is_visible(
    group: FailureGroup, prod_deployment: Deployment, requester: User, viewer: User, login: Login
) -> None:
    other = a_failure(prod_deployment, "ValueError: bad row 9")
    assert login(requester).get(url_of(group)).context["elsewhere"] == [other]
    assert login(viewer).get(url_of(group)).context["elsewhere"] == []


def test_its_buttons_are_for_those_who_may_cancel_and_do_what_they_say(
    group: FailureGroup, viewer: User, requester: User, stranger: User, login: Login
) -> None:
    assert not has_button(page_of(login(viewer), group), "resolve")
    assert login(viewer).post(url_of(group, "resolve"), {"reason": "x"}).status_code == 403
    assert login(stranger).post(url_of(group, "resolve"), {"reason": "x"}).status_code == 404
    client = login(requester)
    assert has_button(page_of(client, group), "mute")
    assert press(client, group, "own", owner="requester") == ["success"]
    assert press(client, group, "own", owner="nobody-here") == ["user.unknown"]
    assert press(client, group, "mute", until="", reason="") == ["failure.until_required"]
    until = f"{timezone.localtime() + timedelta(days=2):%Y-%m-%dT12:00}"
    assert press(client, group, "mute", until=until, reason="later") == ["success"]
    group.refresh_from_db()
    assert (group.state, group.reason, group.owner) == ("muted", "later", requester)
    assert press(client, group, "acknowledge") == ["success"]
    assert press(client, group, "note", reason="asked") == ["success"]
    assert press(client, group, "resolve", reason="") == ["failure.reason_required"]
    assert press(client, group, "resolve", reason="fixed") == ["success"]
    assert press(client, group, "resolve", reason="fixed") == ["failure.state"]
    kinds = attributes(page_of(client, group), "data-kind")
    assert kinds == ["resolved", "noted", "acknowledged", "muted", "owned", "appeared"]


def test_its_runs_are_retried_through_the_action_of_the_list(
    group: FailureGroup, requester: User, login: Login
) -> None:
    client = login(requester)
    keys = client.get(url_of(group)).context["to_retry"]
    answer = client.post(
        reverse("admin:runs_run_changelist"), {"action": "retry_selected", "index": "0", "_selected_action": keys}
    )
    assert [row.code for row in answer.context["rows"]] == ["retry.external"]


# Other pages


def test_the_page_of_a_run_leads_to_its_failure(group: FailureGroup, viewer: User, login: Login) -> None:
    client, run = login(viewer), Run.objects.get()
    url = reverse("admin:runs_run_change", args=[run.pk])
    assert url_of(group) in client.get(url).content.decode()
    Run.objects.update(state_type="COMPLETED")
    assert url_of(group) not in client.get(url).content.decode()


def test_the_overview_shows_groups_and_leaves_muted_ones_out(
    deployment: Deployment, requester: User, viewer: User, login: Login
) -> None:
    for task in ("load", "store"):
        fail(deployment, "Task run encountered an exception ValueError: bad 1", task=task)
    # Not grouped yet: by its message, as before.
    load, store = grouped()
    fail(deployment, "KeyError: 'x'")
    client = login(viewer)
    found = client.get(OVERVIEW).context
    assert {cause.group and cause.group.task_name for cause in found["causes"]} == {"load", "store", None}
    assert SAYS_NOTHING not in {cause.reason for cause in found["causes"]}
    failures.mute(load, timezone.now() + timedelta(days=1), by=by(requester))
    found = client.get(OVERVIEW).context
    assert {cause.group and cause.group.pk for cause in found["causes"]} == {store.pk, None}
    assert found["muted_failures"] == 1
