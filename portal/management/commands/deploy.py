"""Deploys the bundled flows to an environment of the portal, with the address and credential that it has there."""

from __future__ import annotations

import subprocess
import sys
from argparse import Namespace

from django.core.management.base import CommandParser

from flows.models import Environment
from portal.demo.processes import ROOT, inherited_environment
from runs import desk
from runs.management.cli.command import DONE, PREFECT, REFUSED, PortalCommand

# Kind of credential -> the setting of Prefect's client.
SETTINGS = {
    Environment.CredentialKind.BASIC: "PREFECT_API_AUTH_STRING",
    Environment.CredentialKind.KEY: "PREFECT_API_KEY",
}


class Command(PortalCommand):
    help = "Deploy the bundled flows to an environment (by default the first one), and sync it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("environment", nargs="?", default="")

    def run(self, options: Namespace) -> int:
        places = desk.chosen(options.environment, by=None)
        if not places:
            self.stderr.write("No environments. Add one in the portal.")
            return REFUSED
        place = places[0]
        settings = {"PREFECT_API_URL": place.api_url}
        if place.credential:
            settings[SETTINGS[Environment.CredentialKind(place.credential_kind)]] = place.credential
        self.stdout.write(f"Deploying to {place} at {place.api_url} …")
        self.stdout.flush()
        # A process of its own: this one must not load Prefect.
        deployed = subprocess.run(
            [sys.executable, "-m", "flows.deploy"], cwd=ROOT, env=inherited_environment() | settings, check=False
        )
        if deployed.returncode:
            return PREFECT
        self.stdout.write(str(desk.sync(place.slug)))
        return DONE
