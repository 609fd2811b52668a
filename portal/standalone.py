"""Starts Django in a script, with the settings of the environment or else of the demo that runs in this checkout.

from portal import standalone

standalone.setup()
"""

from __future__ import annotations

import os
from pathlib import Path

import django

DEMO = Path(__file__).resolve().parent.parent / "var" / "demo" / "portal.env"


def setup() -> None:
    """Set Django up; models can be imported afterwards."""
    use_settings()
    django.setup()


def is_bare(demo: Path = DEMO) -> bool:
    """Return whether neither the environment nor a running demo names a database."""
    return "DATABASE_URL" not in os.environ and not demo.exists()


def use_settings(demo: Path = DEMO) -> None:
    """Name the settings module and, without DATABASE_URL, take the settings of a running demo."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    if "DATABASE_URL" not in os.environ and demo.exists():
        for line in demo.read_text().splitlines():
            name, _, value = line.partition("=")
            os.environ.setdefault(name, value)
