"""Opens Prefect's own pages."""

from __future__ import annotations

import webbrowser
from argparse import Namespace

from django.core.management.base import CommandParser

from runs import names
from runs.management.cli.command import DONE, PortalCommand


class Command(PortalCommand):
    help = "Print the address of the Prefect UI of an environment (by default of all), and open the first in a browser."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("environment", nargs="?", default="")

    def run(self, options: Namespace) -> int:
        places = names.chosen(options.environment, by=None)
        for place in places:
            self.stdout.write(f"{place}: {place.server.prefect_ui}")
        # Without a browser, as over SSH, the printed address has to do.
        if places and not webbrowser.open(places[0].server.prefect_ui):
            self.stdout.write("No browser was found: open the address yourself.")
        return DONE
