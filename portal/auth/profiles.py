"""What users choose for themselves. The only writer of `Profile`."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from django.conf import settings
from django.contrib.auth.models import User

from flows.local_time import zone_names
from portal.models import Profile
from runs import audit
from runs.actors import Actor
from runs.errors import Refused


def set_time_zone(person: User, name: str, *, by: Actor) -> Profile:
    """Save the zone in which the person reads times; blank is the portal's. For the person alone.

    Raises `Refused` with code `profile.time_zone`.
    """
    with audit.act("profile.change", person, by=by, subject_kind="person") as act:
        if name and name not in zone_names():
            raise Refused(
                "profile.time_zone", "This time zone is not known. Choose one from the list, such as Europe/Vienna."
            )
        act.before = {"time_zone": time_zone_of(person)}
        profile, _ = Profile.objects.update_or_create(user=person, defaults={"time_zone": name})
        act.after = {"time_zone": name}
    return profile


def zone_of(person: User) -> ZoneInfo:
    """Return the zone in which the person reads times."""
    return ZoneInfo(time_zone_of(person) or settings.TIME_ZONE)


def time_zone_of(person: User) -> str:
    """Return the zone that the person has chosen; blank for the portal's."""
    profile: Profile | None = getattr(person, "profile", None)
    return profile.time_zone if profile else ""
