"""Failed attempts to sign in; what the API counts and answers again; saved views; profiles and sessions."""

from django.conf import settings
from django.db import migrations, models
from django.db.models.functions import Now


class Migration(migrations.Migration):
    initial = True
    dependencies = [migrations.swappable_dependency(settings.AUTH_USER_MODEL)]
    operations = [
        migrations.CreateModel(
            name="FailedAttempts",
            fields=[
                (
                    "key",
                    models.CharField(
                        help_text="HMAC of what is counted.", max_length=64, primary_key=True, serialize=False
                    ),
                ),
                ("failures", models.PositiveIntegerField()),
                ("blocked_until", models.DateTimeField(null=True)),
                ("expires_at", models.DateTimeField(db_index=True)),
                (
                    "is_recorded",
                    models.BooleanField(default=False, help_text="The audit trail says that it was throttled."),
                ),
            ],
            options={"default_permissions": ()},
        ),
        migrations.CreateModel(
            name="RequestCount",
            fields=[
                (
                    "token",
                    models.CharField(help_text="Key of the token.", max_length=20, primary_key=True, serialize=False),
                ),
                ("minute", models.BigIntegerField(help_text="Minutes since 1970.")),
                ("requests", models.PositiveIntegerField()),
            ],
            options={"default_permissions": ()},
        ),
        migrations.CreateModel(
            name="IdempotentRequest",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("token", models.CharField(help_text="Key of the token.", max_length=20)),
                ("key", models.CharField(max_length=200)),
                ("fingerprint", models.CharField(help_text="SHA-256 of method, path and body.", max_length=64)),
                ("status", models.PositiveSmallIntegerField(null=True)),
                ("sealed_answer", models.BinaryField(default=b"")),
                ("created_at", models.DateTimeField(db_default=Now(), db_index=True)),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(fields=("token", "key"), name="unique_idempotency_key_per_token")
                ],
            },
        ),
        migrations.CreateModel(
            name="SavedView",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("list", models.CharField(help_text="Label of the model, such as runs.run.", max_length=80)),
                ("name", models.CharField(max_length=60)),
                ("query", models.CharField(help_text="Query string, without a question mark.", max_length=2000)),
                ("is_shared", models.BooleanField(default=False)),
                ("created_at", models.DateTimeField(db_default=Now())),
                (
                    "owner",
                    models.ForeignKey(
                        on_delete=models.CASCADE,
                        related_name="saved_views",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["name", "pk"],
                "default_permissions": (),
                "indexes": [
                    models.Index(condition=models.Q(("is_shared", True)), fields=["list"], name="shared_views")
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("owner", "list", "name"), name="unique_view_per_owner")
                ],
            },
        ),
        migrations.CreateModel(
            name="Profile",
            fields=[
                (
                    "user",
                    models.OneToOneField(
                        on_delete=models.CASCADE,
                        primary_key=True,
                        related_name="profile",
                        serialize=False,
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "time_zone",
                    models.CharField(
                        blank=True, help_text="Such as Europe/Vienna; blank: the portal's.", max_length=60
                    ),
                ),
            ],
            options={"default_permissions": ()},
        ),
        migrations.CreateModel(
            name="BrowserSession",
            fields=[
                (
                    "session_key",
                    models.CharField(max_length=40, primary_key=True, serialize=False, verbose_name="session key"),
                ),
                ("session_data", models.TextField(verbose_name="session data")),
                ("expire_date", models.DateTimeField(db_index=True, verbose_name="expire date")),
                ("browser", models.CharField(blank=True, help_text="User agent at the sign-in.", max_length=400)),
                ("address", models.CharField(blank=True, help_text="IP address at the sign-in.", max_length=64)),
                ("signed_in_at", models.DateTimeField(null=True)),
                (
                    "user",
                    models.ForeignKey(
                        null=True,
                        on_delete=models.CASCADE,
                        related_name="browser_sessions",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "session",
                "verbose_name_plural": "sessions",
                "abstract": False,
                "default_permissions": (),
            },
        ),
    ]
