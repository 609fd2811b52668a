"""Why a form is shown again, where no service has refused anything."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """Has the attributes of `Refused`, so that templates show both alike."""

    code: str
    message: str
