"""What the database itself enforces: the partitions of the audit trail, and every trigger."""

from pathlib import Path

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("runs", "0002_roles")]
    operations = [migrations.RunSQL(Path(__file__).with_name("triggers.sql").read_text())]
