"""A rule of times in words, with its next times: what is said below an input while the rule is typed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from portal.ui.schedule_labels import Start

# Times that are listed.
NEXT = 5


@dataclass(frozen=True, slots=True)
class Reading:
    """What a rule means: `words` are empty where only its next times say it, `problems` are sentences."""

    words: str = ""
    starts: Sequence[Start] = ()
    problems: Sequence[str] = ()
    # What the times are, such as “Next openings”.
    heading: str = "Next starts"


def show(request: HttpRequest, reading: Reading) -> HttpResponse:
    return render(request, "portal/_time_reading.html", {"reading": reading})
