"""Single sign-on: which identity of the provider opens which account."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now


class SignOnIdentity(models.Model):
    """The identity with which a person signs in. Only `runs.governance.sign_on` writes it."""

    person = models.OneToOneField(settings.AUTH_USER_MODEL, models.CASCADE, related_name="sign_on_identity")
    issuer = models.CharField(max_length=300)
    # Unlike an address or a name, it is never reassigned.
    subject = models.CharField(max_length=255, help_text="Claim sub.")
    email = models.EmailField(help_text="The address by which the account was found.")
    connected_at = models.DateTimeField(db_default=Now())

    class Meta:
        default_permissions = ()
        verbose_name = "single sign-on"
        constraints = [models.UniqueConstraint(fields=["issuer", "subject"], name="unique_sign_on_subject")]

    def __str__(self) -> str:
        return f"{self.email} at {self.issuer}"
