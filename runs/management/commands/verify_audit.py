"""Walks the audit trail's chain."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from runs import audit


class Command(BaseCommand):
    help = "Check that no audit entry was changed, removed or inserted. Exits 1 and names the first broken link."

    def handle(self, *args: Any, **options: Any) -> None:
        verification = audit.verify()
        if not verification:
            raise CommandError(f"After {verification.entries} sound entries: {verification.broken}", returncode=1)
        self.stdout.write(f"{verification.entries} entries, unbroken. Head: {verification.head}")
