"""The first steps of a new portal, for administrators: a list that ticks itself from the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.contrib.auth.models import Group, User
from django.db.models import Exists, OuterRef, Q
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_POST

from flows.models import Environment, Health
from portal.admin.actions import redirect_back
from portal.auth.request_user import actor_of
from runs.access.decisions import active_grants
from runs.models import Grant, Policy, Run, ServiceAccount

# In the session: an administrator who has not finished sees them again at the next sign-in.
HIDDEN = "first_steps_hidden"
# What the names of the facts begin with.
FACT = "has_done_"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do: what it is for, and where it is done."""

    key: str
    title: str
    text: str
    link: str
    is_done: bool


def first_steps(request: HttpRequest, environments: Sequence[Environment]) -> list[Step]:
    """Return the steps; none for other people, and none when all are done or they were hidden.

    Any of the `environments` comes with the `facts`.
    """
    asked = facts(request)
    if not asked:
        return []
    row = environments[0] if environments else User.objects.annotate(**asked).get(pk=actor_of(request).user.pk)
    found = steps(request, {name.removeprefix(FACT): getattr(row, name) for name in asked})
    if not all(step.is_done for step in found):
        return found
    # From now on the question is not asked again.
    request.session[HIDDEN] = True
    return []


def facts(request: HttpRequest) -> dict[str, Exists]:
    """Return for each step whether it is done, to be read with any row; none for those who are shown no steps."""
    if not actor_of(request).is_administrator or HIDDEN in request.session:
        return {}
    accounts = ServiceAccount.objects.filter(user=OuterRef("pk"))
    people = User.objects.filter(~Exists(accounts), is_active=True).exclude(pk=actor_of(request).user.pk)
    allowing = active_grants().filter(effect=Grant.Effect.ALLOW)
    # Everyone who is not an administrator: these can start nothing without a grant, and see only what exists.
    granted = people.filter(
        Q(Exists(allowing.filter(person=OuterRef("pk"))))
        | Q(Exists(Group.objects.filter(Exists(allowing.filter(group=OuterRef("pk"))), user=OuterRef("pk"))))
    )
    protected = Environment.objects.filter(is_protected=True)
    policies = Policy.objects.filter(Q(environment=OuterRef("pk")) | Q(environment=None))
    guarded = protected.filter(Q(needs_approval=True) | Q(Exists(policies)))
    found = {
        "environment": Exists(Environment.objects.all()),
        "server": Exists(Health.objects.filter(state=Health.State.UP)),
        "person": Exists(people),
        "grant": Exists(granted),
        "policy": Exists(guarded),
        "run": Exists(Run.objects.all()),
    }
    return {f"{FACT}{key}": exists for key, exists in found.items()}


def steps(request: HttpRequest, ticks: dict[str, bool]) -> list[Step]:
    environment = reverse(f"admin:flows_environment_{'changelist' if ticks['environment'] else 'add'}")
    table = [
        (
            "environment",
            "Add an environment",
            "The API address of a Prefect server and, if it requires one, its credential.",
            reverse("admin:flows_environment_add"),
        ),
        (
            "server",
            "Connect the server",
            "The portal has reached Prefect with this address and credential.",
            environment,
        ),
        ("person", "Add a person", "An account for someone other than you.", reverse("admin:auth_user_add")),
        (
            "grant",
            "Grant access",
            "Add a person to a group such as Operator, or create a grant. Administrators need one to start runs, too.",
            reverse("admin:runs_grant_add"),
        ),
        (
            "policy",
            "Protect production",
            "Mark an environment as protected, and require an approval there, or create a policy for it.",
            reverse("admin:runs_policy_add"),
        ),
        (
            "run",
            "Start a run",
            "Deploy flows with “prefect deploy”, or the bundled ones with “python -m flows.deploy”, and run one.",
            reverse("admin:flows_deployment_changelist"),
        ),
    ]
    return [Step(key, title, text, link, ticks[key]) for key, title, text, link in table]


@require_POST
def hide(request: HttpRequest) -> HttpResponse:
    """Hide the steps until the next sign-in."""
    request.session[HIDDEN] = True
    return redirect_back(request, reverse("admin:index"))
