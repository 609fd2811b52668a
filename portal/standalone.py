"""Which settings a command in this checkout uses: those of the environment, or else of the demo that runs here."""

from __future__ import annotations

import os
from pathlib import Path

DEMO = Path(__file__).resolve().parent.parent / "var" / "demo" / "portal.env"


def is_bare(demo: Path = DEMO) -> bool:
    """Return whether there are no settings at all: neither in the environment nor of a running demo."""
    named = {"DATABASE_URL", "PORTAL_MODE", "PORTAL_SECRET_KEY", "PORTAL_SECRET_KEY_FILE"}
    return not named & os.environ.keys() and not demo.exists()


def use_settings(demo: Path = DEMO) -> None:
    """Name the settings module and, without DATABASE_URL, take the settings of a running demo."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    if "DATABASE_URL" not in os.environ and demo.exists():
        for line in demo.read_text().splitlines():
            name, _, value = line.partition("=")
            os.environ.setdefault(name, value)
