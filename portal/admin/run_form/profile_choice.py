"""The resource profiles that a run form offers, and what a chosen one sets."""

from __future__ import annotations

from collections.abc import Sequence

from django.http import HttpRequest

from flows.db_text import sanitize
from flows.models import Deployment
from portal.auth.request_user import actor_of
from portal.ui.profile_settings import ProfileSettings, settings_of
from runs import requests
from runs.models import ResourceProfile

LONGEST = 120
LONGEST_NAME = 100


def choices(request: HttpRequest, deployment: Deployment, kept: str = "") -> list[tuple[str, str]]:
    """Return name and label of the profiles that the reader can choose.

    `kept` is the one of what is repeated: it stays a choice if it is gone, so that a run is refused and not started
    with other resources.
    """
    return choices_of(requests.offered_profiles(deployment, actor_of(request)), kept)


def choices_of(found: Sequence[ResourceProfile], kept: str) -> list[tuple[str, str]]:
    names = [(profile.name, label_of(profile)) for profile in found]
    if kept and kept not in [name for name, _ in names]:
        names.append((kept, f"{kept} (not available)"))
    return names


def label_of(profile: ResourceProfile) -> str:
    sets = settings_of(profile.contents)
    text = profile.description or ", ".join(f"{each.name} {each.value}" for each in (sets.settings if sets else ()))
    return f"{profile.name}: {text}"[:LONGEST]


def settings_by_name(deployment: Deployment, name: str) -> ProfileSettings | None:
    """Return what the profile of this name sets now; None without one."""
    rows = ResourceProfile.objects.filter(environment=deployment.environment_id, removed_at=None)
    profile = rows.filter(name=sanitize(name)).first() if name else None
    return settings_of(profile.contents) if profile else None
