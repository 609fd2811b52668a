"""Encrypt every stored secret with the newest key."""

from __future__ import annotations

from argparse import Namespace

from runs import key_rotation
from runs.actors import Actor
from runs.management.cli.command import DONE, PortalCommand


class Command(PortalCommand):
    help = (
        "Encrypt every stored secret with the first key of PORTAL_FIELD_KEYS. Afterwards the others can be removed. "
        "Safe to repeat."
    )

    def run(self, options: Namespace) -> int:
        done = key_rotation.rotate(by=Actor.system("command line"))
        listed = ", ".join(f"{number} {kind}" for kind, number in done.items())
        self.print_row(done, f"Secrets encrypted with the current key: {listed}.", as_json=options.json)
        return DONE
