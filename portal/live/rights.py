"""What each reader may see, kept while their pages are open, and read again as soon as a rule about it changes.

The database announces every change of grants, accounts, groups and environments: see `announce_rights` in
runs/migrations/triggers.sql.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db.models import Min
from django.utils import timezone

from runs.access.decisions import Permissions
from runs.models import Grant

# Nothing is kept longer, whatever is announced.
MOST_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Kept:
    permissions: Permissions
    until: float  # of time.monotonic()


class Rights:
    """The permissions of readers. `read` queries the database, so it must be called from a thread."""

    def __init__(self) -> None:
        self.kept: dict[int, Kept] = {}
        # Counts the changes, for what was read before one and is stored after it.
        self.version = 0

    def forget(self) -> None:
        self.version += 1
        self.kept.clear()

    def known(self, pk: int) -> Permissions | None:
        """Return what is kept of a reader, None if nothing is or it is too old."""
        found = self.kept.get(pk)
        return found.permissions if found and found.until > time.monotonic() else None

    def read(self, user: User) -> Permissions:
        """Read the permissions of a reader, and keep them until a rule changes, or a grant begins or ends."""
        version, now = self.version, timezone.now()
        permissions = Permissions.of_person(user)
        # One that begins can be a denial. Whose it is does not matter: few begin at a set time.
        begins = Grant.objects.filter(valid_from__gt=now, revoked_at=None).aggregate(next=Min("valid_from"))["next"]
        moments = [begins, *(grant.valid_until for grant in permissions.grants)]
        left = min([MOST_SECONDS, *((moment - now).total_seconds() for moment in moments if moment)])
        if version == self.version:
            self.kept[user.pk] = Kept(permissions, time.monotonic() + left)
        return permissions
