"""The portal's own tables; everything else it shows belongs to `flows` and `runs`."""

from __future__ import annotations

from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models
from django.db.models.functions import Now
from django.utils.module_loading import import_string


class FailedAttempts(models.Model):
    """Failed attempts to sign in or to enter the old password, and requests for a link to choose a new one.

    Only `portal.auth.throttle` writes it. After a row has expired, counting starts again at one; it is deleted later.
    """

    # Not the name or address: people type passwords into the wrong field, and this table is never displayed.
    key = models.CharField(max_length=64, primary_key=True, help_text="HMAC of what is counted.")
    failures = models.PositiveIntegerField()
    blocked_until = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(db_index=True)
    is_recorded = models.BooleanField(default=False, help_text="The audit trail says that it was throttled.")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.failures} failed attempts"


class RequestCount(models.Model):
    """How many requests came with a token, or to a hook, in the running minute.

    Only `portal.api.authentication` writes it.
    """

    token = models.CharField(max_length=20, primary_key=True, help_text="Key of the token.")
    minute = models.BigIntegerField(help_text="Minutes since 1970.")
    requests = models.PositiveIntegerField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.token}: {self.requests}"


class IdempotentRequest(models.Model):
    """A request with an `Idempotency-Key`, and its answer. Only `portal.api.idempotency` writes it.

    The answer is encrypted: it can hold what the token may see and others may not.
    """

    token = models.CharField(max_length=20, help_text="Key of the token.")
    key = models.CharField(max_length=200)
    fingerprint = models.CharField(max_length=64, help_text="SHA-256 of method, path and body.")
    # Empty while the first request with the key is being answered.
    status = models.PositiveSmallIntegerField(null=True)
    sealed_answer = models.BinaryField(default=b"")
    created_at = models.DateTimeField(db_default=Now(), db_index=True)

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["token", "key"], name="unique_idempotency_key_per_token")]

    def __str__(self) -> str:
        return f"{self.token}: {self.key}"


class SavedView(models.Model):
    """Filters of a list under a name, for its owner or for everyone. Only `portal.lists.saved_views` writes it.

    It opens nothing: a list shows what its reader may see, whatever it is filtered by.
    """

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="saved_views")
    list = models.CharField(max_length=80, help_text="Label of the model, such as runs.run.")
    name = models.CharField(max_length=60)
    query = models.CharField(max_length=2000, help_text="Query string, without a question mark.")
    is_shared = models.BooleanField(default=False)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["name", "pk"]
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["owner", "list", "name"], name="unique_view_per_owner")]
        indexes = [models.Index(fields=["list"], condition=models.Q(is_shared=True), name="shared_views")]

    def __str__(self) -> str:
        return self.name


class Profile(models.Model):
    """What users choose for themselves. Only `portal.auth.profiles` writes it; without a row, defaults apply."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.CASCADE, primary_key=True, related_name="profile")
    time_zone = models.CharField(max_length=60, blank=True, help_text="Such as Europe/Vienna; blank: the portal's.")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.time_zone


class BrowserSession(AbstractBaseSession):
    """A session of a browser, with who is signed in. Only `portal.auth.browser_sessions` writes it."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, null=True, related_name="browser_sessions")
    browser = models.CharField(max_length=400, blank=True, help_text="User agent at the sign-in.")
    address = models.CharField(max_length=64, blank=True, help_text="IP address at the sign-in.")
    signed_in_at = models.DateTimeField(null=True)

    class Meta(AbstractBaseSession.Meta):
        default_permissions = ()

    @classmethod
    def get_session_store_class(cls) -> type[SessionBase]:
        # By name: the engine imports this model.
        store: type[SessionBase] = import_string(f"{settings.SESSION_ENGINE}.SessionStore")
        return store
