#!/usr/bin/env python
"""Command line of the portal."""

import os
import sys

try:
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line
except ModuleNotFoundError:
    sys.exit(
        "Django is not installed for this Python. In the checkout, activate its virtual environment with "
        "“source .venv/bin/activate”; “make demo” creates it."
    )

from portal import standalone


def main() -> None:
    if sys.argv[1:2] == ["demo"]:
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
        os.environ.setdefault("PORTAL_MODE", "demo")
    else:
        # A demo is running: a second terminal uses it without further settings.
        standalone.use_settings()
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        no_demo = "No demo is running in this checkout (“make demo” starts one). " if standalone.is_bare() else ""
        sys.exit(f"{no_demo}{error}")


if __name__ == "__main__":
    main()
