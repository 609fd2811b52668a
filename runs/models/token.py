"""Tokens of programs, and the service accounts that have no other way in."""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now

from runs.models.agent import Agent
from runs.models.grant import Scope


class ServiceAccount(models.Model):
    """An account of a program: no password and no pages, its own grants, and a person who answers for it.

    `runs.governance.service_accounts` is the only code that writes it.
    """

    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.PROTECT, related_name="service_account")
    # The person it acts for: they issue its tokens, and can neither approve its requests nor sign its grants.
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="service_accounts")
    purpose = models.CharField(max_length=500)
    created_by_name = models.CharField(max_length=200, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ["user__username"]
        default_permissions = ["view"]

    def __str__(self) -> str:
        return str(self.user.get_username())


class Token(models.Model):
    """A credential of a program, which acts as `user` within its scopes. `runs.governance.tokens` is the only writer.

    Only a keyed hash of the secret is stored. It covers everything that the token allows, so that a token that is
    changed in the database opens nothing.
    """

    # The public half, which names the token in the audit trail.
    key = models.CharField(max_length=20, unique=True, editable=False)
    # Number of the pepper in PORTAL_TOKEN_PEPPERS.
    pepper = models.PositiveIntegerField(editable=False)
    # HMAC-SHA256 in hexadecimal; empty once the token is revoked for good.
    digest = models.CharField(max_length=64, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="tokens")
    # Of an AI agent: it then works for the tools of agents only, and `user` is the agent's owner.
    agent = models.ForeignKey(Agent, models.PROTECT, null=True, editable=False, related_name="tokens")
    name = models.CharField(max_length=100)
    networks = ArrayField(models.CharField(max_length=50), default=list, blank=True, verbose_name="allowed networks")
    # Scopes are about deployments, and the trail is about everything.
    reads_trail = models.BooleanField("reads the whole audit trail", default=False)
    expires_at = models.DateTimeField("expires")
    created_at = models.DateTimeField("created", db_default=Now(), editable=False)
    # The token that this one replaces, which is still valid until `revoked_at`.
    replaces = models.OneToOneField("self", models.PROTECT, null=True, editable=False, related_name="replaced_by")
    # Of a token that a CI job was given for its job token: the trust that allowed it, and what the job token said.
    job_trust = models.ForeignKey("runs.JobTrust", models.PROTECT, null=True, editable=False, related_name="tokens")
    job = models.JSONField(default=dict, editable=False)
    # Stored at most once a minute.
    last_used_at = models.DateTimeField("last used", null=True, editable=False)
    last_used_address = models.CharField(max_length=64, blank=True, editable=False)
    # Later than now while a rotated token may still be used.
    revoked_at = models.DateTimeField("revoked", null=True, editable=False)
    revoked_by_name = models.CharField(max_length=200, blank=True, editable=False)

    class Meta:
        ordering = ["-created_at", "-pk"]
        default_permissions = ["view"]

    def __str__(self) -> str:
        return f"{self.name} ({self.key})"


class TokenScope(Scope):
    """What a token may do."""

    token = models.ForeignKey(Token, models.PROTECT, related_name="scopes")

    class Meta(Scope.Meta):
        pass
