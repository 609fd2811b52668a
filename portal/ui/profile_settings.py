"""What a resource profile sets, as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from portal.ui.text import json_text


@dataclass(frozen=True, slots=True)
class Setting:
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class ProfileSettings:
    """A resource profile as a request has frozen it, or as it is."""

    name: str
    settings: list[Setting]


def settings_of(profile: Mapping[str, Any]) -> ProfileSettings | None:
    """Return what a profile sets, by `ResourceProfile.contents`; None without one."""
    if not profile:
        return None
    queue = [Setting("work queue", profile["work_queue"])] if profile["work_queue"] else []
    variables = [Setting(name, json_text(value)) for name, value in sorted(profile["job_variables"].items())]
    return ProfileSettings(profile["name"], [*queue, *variables])
