"""The command `portal` for make targets: at the address and with the token of the environment, or else of the demo.

`python -m portal.demo.demo_client runs` reads as the demo's auditor, who sees everything and changes nothing.
"""

from __future__ import annotations

import os
import sys

from portal.client.command_line import main
from portal.demo.processes import ROOT

DATA = ROOT / "var" / "demo"
READER = "axel"
ADDRESS, TOKEN, PUBLIC_URL = "PORTAL_ADDRESS", "PORTAL_TOKEN", "PORTAL_PUBLIC_URL"


def use_demo() -> None:
    """Set address and token of the demo that runs in this checkout, unless the environment names a portal."""
    if ADDRESS in os.environ or TOKEN in os.environ:
        return
    try:
        lines = (DATA / "portal.env").read_text().splitlines()
        found = dict(line.split("=", 1) for line in lines if "=" in line)
        os.environ[ADDRESS], os.environ[TOKEN] = found[PUBLIC_URL], (DATA / "tokens" / READER).read_text()
    except (OSError, KeyError) as error:
        raise SystemExit(
            f"No demo is running in this checkout: start one with “make demo”, or set {ADDRESS} and {TOKEN}."
        ) from error


if __name__ == "__main__":
    use_demo()
    sys.exit(main())
