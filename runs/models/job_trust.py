"""Trusted jobs: which CI jobs may act as a service account without a stored secret."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.models import User
from django.db import models
from django.db.models.functions import Now

from runs.models.grant import Scope


class JobTrust(models.Model):
    """Lets CI jobs whose job token has these claims act as a service account. Never edited: revoked and created again.

    `runs.governance.job_trusts` is the only code that writes it. An HMAC covers everything that the row allows, so that
    one that is changed in the database opens nothing.
    """

    # The public name of the row, by which the HMAC cannot be moved to another one.
    key = models.CharField(max_length=20, unique=True, editable=False)
    # Number of the pepper in PORTAL_TOKEN_PEPPERS.
    pepper = models.PositiveIntegerField(editable=False)
    # HMAC-SHA256 in hexadecimal; empty once the trust is revoked.
    digest = models.CharField(max_length=64, editable=False)
    user: models.ForeignKey[User] = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="job_trusts", verbose_name="service account"
    )
    name = models.CharField(max_length=100)
    issuer = models.CharField(max_length=300)
    audience = models.CharField(max_length=300)
    # claim -> the text that it must have, in which each * stands for one or more characters but / and :
    claims = models.JSONField()
    token_minutes = models.PositiveIntegerField("minutes that a token is valid")
    expires_at = models.DateTimeField("expires")
    created_at = models.DateTimeField("created", db_default=Now(), editable=False)
    # The owner of the account then. Under another owner the trust opens nothing: who knows the jobs is the one who
    # must not be able to approve what they request.
    created_by: models.ForeignKey[User] = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, editable=False, related_name="job_trusts_created"
    )
    created_by_name = models.CharField(max_length=200, editable=False)
    last_used_at = models.DateTimeField("last used", null=True, editable=False)
    # What the job token of the last use said.
    last_job = models.JSONField(default=dict, editable=False)
    revoked_at = models.DateTimeField("revoked", null=True, editable=False)
    revoked_by_name = models.CharField(max_length=200, blank=True, editable=False)

    class Meta:
        ordering = ["-created_at", "-pk"]
        default_permissions = ["view"]
        verbose_name = "trusted job"

    def __str__(self) -> str:
        return f"{self.name} ({self.key})"


class JobTrustScope(Scope):
    """What the tokens of a trusted job may do."""

    job_trust = models.ForeignKey(JobTrust, models.PROTECT, related_name="scopes")

    class Meta(Scope.Meta):
        pass


class JobRefusal(models.Model):
    """How often job tokens of an issuer were refused since the audit trail said so.

    Anyone can send job tokens, so not each refusal gets an entry. `runs.governance.job_refusals` is the only writer.
    """

    # One of the configured issuers, or empty: never a text that a stranger has chosen.
    issuer = models.CharField(max_length=300)
    code = models.CharField(max_length=100)
    count = models.PositiveIntegerField(default=0)
    recorded_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["issuer", "code"], name="unique_job_refusal")]

    def __str__(self) -> str:
        return f"{self.issuer or 'unknown issuer'}: {self.count} times {self.code}"
