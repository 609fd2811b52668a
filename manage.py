#!/usr/bin/env python
"""Command line of the portal."""

import os
import sys
from pathlib import Path

from django.core.management import execute_from_command_line

DEMO_ENVIRONMENT = Path(__file__).parent / "var" / "demo" / "portal.env"


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    if sys.argv[1:2] == ["demo"]:
        os.environ.setdefault("PORTAL_MODE", "demo")
    elif "DATABASE_URL" not in os.environ and DEMO_ENVIRONMENT.exists():
        # A demo is running: a second terminal speaks to it without being told how.
        for line in DEMO_ENVIRONMENT.read_text().splitlines():
            name, _, value = line.partition("=")
            os.environ.setdefault(name, value)
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
