"""Environments: the rules for what people may do on a Prefect server."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.core.validators import validate_slug
from django.db import models

from flows.models.server import Server
from flows.models.stored_row import StoredRow
from flows.scopes import LONGEST_VALUE, Kind, Scope


class Environment(StoredRow):
    """A set of rules over one Prefect server, or over a scope of it, and how it is shown."""

    class ScopeKind(models.TextChoices):
        SERVER = Kind.SERVER, "the whole server"
        POOLS = Kind.POOLS, "work pools"
        TAGS = Kind.TAGS, "tags"
        NAMES = Kind.NAMES, "name patterns"

    # The name in grants, commands and configuration files, hence no spaces. Django's own message speaks of a "slug".
    slug = models.CharField(
        "name",
        max_length=40,
        unique=True,
        validators=[validate_slug],
        error_messages={"invalid": "Use letters, digits, hyphens and underscores only."},
    )
    display_name = models.CharField(max_length=80, blank=True, help_text="Shown on pages; any text. Blank = the name.")
    description = models.CharField(max_length=200, blank=True)
    # PROTECT: a server is deleted with its last environment, by `runs.governance.configuration`.
    server = models.ForeignKey(Server, models.PROTECT, related_name="environments")
    # Which deployments of the server belong here: see flows/scopes.py.
    scope_kind = models.CharField(
        "scope",
        max_length=10,
        choices=ScopeKind,
        default=ScopeKind.SERVER,
        help_text="Deployments of the server that belong to this environment: all of them, or those with one of these "
        "work pools, tags or name patterns.",
    )
    scope_values = ArrayField(
        models.CharField(max_length=LONGEST_VALUE),
        verbose_name="scope values",
        default=list,
        blank=True,
        help_text="Names of work pools, tags, or patterns of full names such as crm-*/*.",
    )
    is_protected = models.BooleanField(
        "protected",
        default=False,
        help_text="Only grants that name this environment apply; grants for all environments do not.",
    )
    needs_approval = models.BooleanField(
        "require approval", default=False, help_text="Runs need approval by someone other than the requester."
    )
    needs_reason = models.BooleanField(
        "require a reason", default=False, help_text="A reason is required to run a deployment or cancel a run."
    )
    approval_minutes = models.PositiveIntegerField(
        "approval timeout", default=480, help_text="Minutes after which a request without approval expires."
    )
    # Without a maximum: an auditor may want weeks.
    independence_hours = models.PositiveSmallIntegerField(
        "independence window",
        default=24,
        help_text="Hours. An approval does not count if its approver or requester was created or changed by the other "
        "within this time before the request. 0 = off.",
    )
    # From when a run counts as stalled: see runs/stalls.py.
    pending_minutes = models.PositiveIntegerField(
        "pending limit",
        default=5,
        help_text="Minutes after which a Pending run without a process counts as stalled. 0 = never.",
    )
    late_minutes = models.PositiveIntegerField(
        "late limit",
        default=15,
        help_text="Minutes after its start time from which a run that no worker has picked up counts as stalled. "
        "0 = never.",
    )
    silent_minutes = models.PositiveIntegerField(
        "silence limit",
        default=60,
        help_text="Minutes without a heartbeat, log line or task change after which a Running run counts as stalled. "
        "0 = never.",
    )
    cancelling_minutes = models.PositiveIntegerField(
        "cancelling limit",
        default=10,
        help_text="Minutes after which a cancellation that has not taken effect counts as stalled. 0 = never.",
    )
    puts_back = models.BooleanField(
        "put back automatically",
        default=True,
        help_text="Puts a stalled Pending run back to Scheduled once if its worker is offline and started no process. "
        "Never in a protected environment.",
    )
    # What is deleted, and when: see runs/mirror/run_retention.py.
    keep_runs_days = models.PositiveSmallIntegerField(
        "keep runs",
        default=0,
        help_text="Days after its end at which a run is deleted here, with its states, tasks, log and artifacts. Its "
        "request and the counts keep its result. 0 = keep forever.",
    )
    keep_events_days = models.PositiveSmallIntegerField(
        "keep events and notifications",
        default=0,
        help_text="Days after which events that were handled and notifications that were sent are deleted. "
        "0 = keep forever.",
    )
    position = models.PositiveSmallIntegerField("sort order", default=0)
    # Switches that are looser than they were, for the banner: column -> was, since, by. `runs.governance.loosening`.
    loosened = models.JSONField(default=dict, blank=True, editable=False)
    is_active = models.BooleanField("enabled", default=True, help_text="Synced with Prefect; runs can be requested.")

    class Meta:
        ordering = ["position", "slug"]
        constraints = [
            # Two sets of rules over one whole server: what one forbids could be run through the other. Beside scoped
            # ones `runs.governance.configuration` refuses it.
            models.UniqueConstraint(
                fields=["server"],
                condition=models.Q(is_active=True, scope_kind=Kind.SERVER),
                name="one_active_environment_per_server",
            )
        ]

    def __str__(self) -> str:
        return self.slug

    @property
    def scope(self) -> Scope:
        return Scope(Kind(self.scope_kind), tuple(self.scope_values))

    @property
    def is_scoped(self) -> bool:
        return self.scope_kind != Kind.SERVER

    @property
    def label(self) -> str:
        """What pages call it; refusals, confirmations and programs use the name."""
        return self.display_name or self.slug

    @property
    def letter(self) -> str:
        """The first letter of what pages call it, for the block of its tag."""
        return self.label[:1].upper()
