"""Inbound hooks: addresses at which systems outside request runs of one deployment, and what came there."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from flows.models import Deployment
from runs.models.request import RunRequest
from runs.models.token import ServiceAccount

DEFAULT_BYTES = 256 * 1024


class Hook(models.Model):
    """An address that requests runs of one deployment as a service account. `runs.automation.hooks` is the only writer.

    A keyed hash covers everything that it allows, its secrets included: a hook that is changed in the database accepts
    nothing.
    """

    class Kind(models.TextChoices):
        STANDARD = "standard", "Standard Webhooks"
        GITHUB = "github", "GitHub"

    # Part of its address; it also names the hook in the audit trail.
    key = models.CharField(max_length=20, unique=True, editable=False)
    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=10, choices=Kind)
    deployment = models.ForeignKey(Deployment, models.PROTECT, related_name="hooks")
    account = models.ForeignKey(ServiceAccount, models.PROTECT, related_name="hooks", verbose_name="service account")
    # The owner of the account when its secrets were last replaced: another one has to replace them first.
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="hooks")
    mapping = models.JSONField(
        default=dict, help_text="Parameter -> {pointer}, {pointer, default} or {value}; pointers are RFC 6901."
    )
    predicate = models.JSONField(
        "condition", null=True, blank=True, help_text="JSON Schema that a payload must satisfy to request a run."
    )
    max_bytes = models.PositiveIntegerField("largest body", default=DEFAULT_BYTES)
    valid_until = models.DateTimeField("ends", help_text="Later messages are refused, until its owner renews it.")
    reminded_at = models.DateTimeField(null=True, editable=False, help_text="When its owner was notified of its end.")
    is_enabled = models.BooleanField("enabled", default=True)
    obstacle = models.TextField(
        blank=True, editable=False, help_text="Why its account could not run the deployment when last checked."
    )
    # Number of the pepper in PORTAL_TOKEN_PEPPERS, and the HMAC-SHA256 in hexadecimal.
    pepper = models.PositiveIntegerField(editable=False)
    digest = models.CharField(max_length=64, editable=False)
    created_at = models.DateTimeField("created", db_default=Now(), editable=False)
    created_by_name = models.CharField(max_length=200, editable=False)

    class Meta:
        ordering = ["name", "pk"]
        default_permissions = ["view"]

    def __str__(self) -> str:
        return f"{self.name} ({self.key})"


class HookSecret(models.Model):
    """A secret with which a sender signs. `runs.automation.hooks` is the only writer."""

    hook = models.ForeignKey(Hook, models.PROTECT, related_name="secrets")
    sealed_text = models.BinaryField(editable=False)
    created_at = models.DateTimeField("created", db_default=Now(), editable=False)
    created_by_name = models.CharField(max_length=200, editable=False)
    # Stored at most once a minute.
    last_used_at = models.DateTimeField("last used", null=True, editable=False)

    class Meta:
        ordering = ["pk"]
        default_permissions = ()

    def __str__(self) -> str:
        return f"secret {self.pk}"


class HookDelivery(models.Model):
    """One signed message, and what it did. `runs.automation.hook_deliveries` is the only writer.

    Never the payload: it can hold anything, and what of it counts is in the request.
    """

    class Outcome(models.TextChoices):
        ACCEPTED = "accepted", "accepted"
        IGNORED = "ignored", "ignored"
        REFUSED = "refused", "refused"

    hook = models.ForeignKey(Hook, models.PROTECT, related_name="deliveries")
    message_id = models.CharField(max_length=255)
    # The digest of the body where the signature does not cover the id; null where it does.
    replay_key = models.CharField(max_length=64, null=True, editable=False)
    received_at = models.DateTimeField("received", db_default=Now(), editable=False)
    outcome = models.CharField(max_length=10, choices=Outcome)
    code = models.CharField(max_length=60, blank=True, help_text="Why it was ignored or refused, for programs.")
    message = models.TextField(blank=True, help_text="Why it was ignored or refused, for people.")
    run_request = models.ForeignKey(RunRequest, models.PROTECT, null=True, related_name="hook_deliveries")
    address = models.CharField(max_length=64, blank=True)
    body_digest = models.CharField(max_length=64, help_text="SHA-256 of the body.")
    size = models.PositiveIntegerField(help_text="Bytes of the body.")
    attempts = models.PositiveIntegerField(default=1, help_text="How often the sender sent it.")

    class Meta:
        ordering = ["-received_at", "-pk"]
        verbose_name_plural = "hook deliveries"
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["hook", "message_id"], name="unique_message_per_hook"),
            models.UniqueConstraint(fields=["hook", "replay_key"], name="unique_body_per_hook"),
        ]
        indexes = [models.Index(fields=["hook", "-received_at"], name="hook_deliveries_by_time")]

    def __str__(self) -> str:
        return f"delivery {self.pk} of hook {self.hook_id}"


class HookRefusal(models.Model):
    """How many messages a hook refused for one reason on one day (UTC), before anything was known to be signed.

    One row, so that a stranger who knows the address cannot fill a table. `runs.automation.hook_refusals` is the only
    writer.
    """

    hook = models.ForeignKey(Hook, models.PROTECT, related_name="refusals")
    day = models.DateField()
    code = models.CharField(max_length=60)
    number = models.PositiveBigIntegerField(default=1)
    last_at = models.DateTimeField()
    last_address = models.CharField(max_length=64, blank=True)
    # When the audit trail last said so, and the number then.
    recorded_at = models.DateTimeField(null=True)
    recorded_number = models.PositiveBigIntegerField(default=0)

    class Meta:
        ordering = ["-day", "code"]
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["hook", "day", "code"], name="unique_refusal_per_hook_and_day")]

    def __str__(self) -> str:
        return f"{self.number} refused with {self.code}"
