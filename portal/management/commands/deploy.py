"""Deploys the bundled flows to an environment of a demo, with the address and credential that it has in the portal."""

from __future__ import annotations

import subprocess
import sys
from argparse import Namespace

from django.conf import settings
from django.core.management.base import CommandParser

from flows.models import Server
from portal.demo.processes import ROOT, inherited_environment
from runs import names, sync_now
from runs.management.cli.command import DONE, PREFECT, REFUSED, PortalCommand

# Kind of credential -> the setting of Prefect's client.
SETTINGS = {
    Server.CredentialKind.BASIC: "PREFECT_API_AUTH_STRING",
    Server.CredentialKind.KEY: "PREFECT_API_KEY",
}


class Command(PortalCommand):
    help = "Deploy the bundled flows to an environment of a demo (by default the first one), and sync it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("environment", nargs="?", default="")

    def run(self, options: Namespace) -> int:
        # The credential of an installation is for the portal alone, and nobody is asked here for a permission.
        if settings.PRODUCTION:
            self.stderr.write("Demo only. Set PREFECT_API_URL and its credential, and use “python -m flows.deploy”.")
            return REFUSED
        places = names.chosen(options.environment, by=None)
        if not places:
            self.stderr.write("No environments. Add one in the portal.")
            return REFUSED
        place = places[0]
        server = place.server
        client = {"PREFECT_API_URL": server.api_url}
        if server.credential:
            client[SETTINGS[Server.CredentialKind(server.credential_kind)]] = server.credential
        self.stdout.write(f"Deploying to {place} at {server.api_url} …")
        self.stdout.flush()
        # A process of its own: this one must not load Prefect.
        deployed = subprocess.run(
            [sys.executable, "-m", "flows.deploy"], cwd=ROOT, env=inherited_environment() | client, check=False
        )
        if deployed.returncode:
            return PREFECT
        self.stdout.write(str(sync_now.sync(place)))
        return DONE
