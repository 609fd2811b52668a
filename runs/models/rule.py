"""Event rules: when something happens, a run of one deployment is requested; and what each event did."""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models.functions import Now

from flows.models import Deployment
from runs.models.grant import Selector
from runs.models.hook import Hook
from runs.models.request import RunRequest
from runs.models.run import STATES, TERMINAL
from runs.models.token import Token

MOST_DEBOUNCE_SECONDS = 24 * 60 * 60


class EventRule(Selector):
    """Requests runs of one deployment in the name of its owner. `runs.automation.event_rules` is the only writer.

    The selector says where the event must come from, the deployment what is run. The owner never changes: a rule can do
    what its owner can, one that a program saved what its token can. A keyed hash covers all of it: a rule that is
    changed in the database fires no more.
    """

    class Trigger(models.TextChoices):
        RUN = "run", "A run ended"
        ARTIFACT = "artifact", "A run published an artifact"
        DELIVERY = "delivery", "A hook received a message"
        EVENT = "event", "A program posted an event"

    # It names the rule in the API and in the audit trail.
    key = models.CharField(max_length=20, unique=True, editable=False)
    name = models.CharField(max_length=100)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="event_rules")
    token = models.ForeignKey(
        Token,
        models.PROTECT,
        null=True,
        editable=False,
        related_name="event_rules",
        help_text="With which a program saved it: it acts within its scopes, as long as it is valid.",
    )
    trigger = models.CharField("when", max_length=10, choices=Trigger)
    states = ArrayField(
        models.CharField(max_length=20, choices=[(key, STATES[key][0]) for key in sorted(TERMINAL)]),
        default=list,
        blank=True,
        help_text="States in which a run must end; of a run only.",
    )
    artifact_key = models.CharField(max_length=300, blank=True)
    hook = models.ForeignKey(Hook, models.PROTECT, null=True, blank=True, related_name="event_rules")
    event_name = models.CharField(max_length=100, blank=True)
    conditions = models.JSONField(default=list, help_text="Comparisons, all of which must hold: pointer, is, value.")
    deployment = models.ForeignKey(Deployment, models.PROTECT, related_name="event_rules")
    mapping = models.JSONField(
        default=dict, help_text="Parameter -> {pointer}, {pointer, default} or {value}; pointers are RFC 6901."
    )
    debounce_seconds = models.PositiveIntegerField(
        "debounce", default=0, validators=[MaxValueValidator(MOST_DEBOUNCE_SECONDS)]
    )
    per_hour = models.PositiveIntegerField("requests an hour")
    valid_until = models.DateTimeField("ends", help_text="Later events are ignored, until its owner renews it.")
    reminded_at = models.DateTimeField(null=True, editable=False, help_text="When its owner was notified of its end.")
    is_enabled = models.BooleanField("enabled", default=True)
    obstacle = models.TextField(
        blank=True, editable=False, help_text="Why its owner could not run the deployment when last checked."
    )
    paused_by_name = models.CharField(max_length=200, blank=True, editable=False)
    paused_why = models.CharField(max_length=1000, blank=True, editable=False)
    # By which the rules of an event are found: `runs.automation.rule_matching`.
    match_key = models.CharField(max_length=650, editable=False)
    # Number of the pepper in PORTAL_TOKEN_PEPPERS, and the HMAC-SHA256 in hexadecimal.
    pepper = models.PositiveIntegerField(editable=False)
    digest = models.CharField(max_length=64, editable=False)
    created_at = models.DateTimeField("created", db_default=Now(), editable=False)
    # The row stays: its log, and what is known of the requests that it made, refer to it.
    deleted_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ["name", "pk"]
        default_permissions = ["view"]
        indexes = [
            models.Index(fields=["match_key"], condition=models.Q(is_enabled=True), name="enabled_rules_by_match_key")
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.key})"


class RuleFiring(models.Model):
    """What an event did with a rule: a request, or why there was none.

    `runs.automation.rule_firing` is the only writer, `firing_retention` deletes old rows.

    One row for an event and a rule. Events that a rule skips for one reason are counted in one row for those that were
    read together. It holds no value of the event.
    """

    class Outcome(models.TextChoices):
        WAITING = "waiting", "Waiting"
        REQUESTED = "requested", "Requested"
        SKIPPED = "skipped", "Skipped"
        REFUSED = "refused", "Refused"
        FAILED = "failed", "Failed"

    rule = models.ForeignKey(EventRule, models.PROTECT, related_name="firings", db_index=False)
    # Without foreign keys: what it is about may be deleted before.
    event_id = models.BigIntegerField()
    run_id = models.BigIntegerField(null=True)
    source = models.CharField(max_length=700, help_text="What happened, in words.")
    occurred_at = models.DateTimeField()
    matched_at = models.DateTimeField(db_default=Now())
    due_at = models.DateTimeField(null=True, help_text="When it is acted on: after the debounce.")
    waiting_since = models.DateTimeField(null=True, help_text="Of the first event that the debounce holds back.")
    decided_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=10, choices=Outcome)
    code = models.CharField(max_length=60, blank=True, help_text="Why there is no request, for programs.")
    message = models.TextField(blank=True, help_text="Why there is no request, for people.")
    events = models.PositiveIntegerField(default=1, help_text="How many events it stands for; the last one is named.")
    run_request = models.ForeignKey(RunRequest, models.PROTECT, null=True, related_name="rule_firings")
    # The rules whose requests led to the event, the first one first: what stops loops.
    ancestors = ArrayField(models.BigIntegerField(), default=list)
    tries = models.PositiveSmallIntegerField(default=0)

    class Meta:
        ordering = ["-pk"]
        default_permissions = ["view"]
        constraints = [models.UniqueConstraint(fields=["rule", "event_id"], name="unique_event_per_rule")]
        indexes = [
            models.Index(fields=["rule", "-id"], name="firings_by_rule"),
            models.Index(fields=["due_at"], condition=models.Q(outcome="waiting"), name="waiting_firings"),
            # For the requests of an hour.
            models.Index(
                fields=["rule", "decided_at"],
                condition=models.Q(outcome__in=["requested", "refused"]),
                name="counted_firings",
            ),
            # For retention.
            models.Index(fields=["matched_at"], name="firings_by_age"),
        ]

    def __str__(self) -> str:
        return f"firing {self.pk} of rule {self.rule_id}"

    @property
    def depth(self) -> int:
        """How many rules in a row led to it, this one included."""
        return len(self.ancestors) + 1
