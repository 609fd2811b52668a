"""Failed attempts to sign in."""

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies: list[tuple[str, str]] = []
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
    ]
