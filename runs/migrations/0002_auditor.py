"""The Auditor role reads the audit trail."""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def allow(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    # Django makes permissions after all migrations; this one is needed now and will be found then.
    content_type, _ = apps.get_model("contenttypes", "ContentType").objects.get_or_create(
        app_label="runs", model="auditentry"
    )
    permission, _ = apps.get_model("auth", "Permission").objects.get_or_create(
        codename="view_auditentry", content_type=content_type, defaults={"name": "Can view audit entry"}
    )
    apps.get_model("auth", "Group").objects.get(name="Auditor").permissions.add(permission)


class Migration(migrations.Migration):
    dependencies = [
        ("runs", "0001_first"),
        ("flows", "0002_roles"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]
    operations = [migrations.RunPython(allow, migrations.RunPython.noop)]
