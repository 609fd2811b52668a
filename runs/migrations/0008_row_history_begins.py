"""The version of every row that is there already, so that its first change has something to differ from."""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

TRACKED = {
    "Environment": "flows_environment",
    "Alias": "flows_alias",
    "Grant": "flows_grant",
    "Policy": "runs_policy",
    "Window": "runs_window",
    "Freeze": "runs_freeze",
    "Person": "auth_user",
    "Group": "auth_group",
    "Membership": "auth_user_groups",
    "PersonPermission": "auth_user_user_permissions",
    "GroupPermission": "auth_group_permissions",
}


def begin(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    for name, table in TRACKED.items():
        event = apps.get_model("runs", f"{name}Event")
        columns = ", ".join(
            f'"{field.column}"' for field in event._meta.concrete_fields if not field.column.startswith("pgh_")
        )
        schema_editor.execute(
            f'INSERT INTO "{event._meta.db_table}" ({columns}, pgh_created_at, pgh_label, pgh_obj_id) '
            f"SELECT {columns}, now(), 'found', id FROM \"{table}\" ORDER BY id"
        )


class Migration(migrations.Migration):
    dependencies = [("runs", "0007_row_history")]
    operations = [migrations.RunPython(begin, migrations.RunPython.noop)]
