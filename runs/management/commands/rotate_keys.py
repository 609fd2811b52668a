"""Encrypts every stored secret with the newest key."""

from __future__ import annotations

from argparse import Namespace

from runs import desk
from runs.management.cli.command import DONE, PortalCommand


class Command(PortalCommand):
    help = (
        "Encrypt every stored secret with the first key of PORTAL_FIELD_KEYS. Afterwards the others can be left out. "
        "It may be done again at any time."
    )

    def run(self, asked: Namespace) -> int:
        done = desk.rotate_keys()
        listed = ", ".join(f"{number} {kind}" for kind, number in done.items())
        self.print_row(done, f"Secrets encrypted with the current key: {listed}.", as_json=asked.json)
        return DONE
