"""Make the first administrator, or one after the last one has left."""

from __future__ import annotations

from argparse import Namespace

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management.base import CommandParser

from runs import notifications
from runs.governance import accounts
from runs.management.cli.command import DONE, PortalCommand
from runs.operators import operator


class Command(PortalCommand):
    help = (
        "Make an administrator who can sign in, for the operator of the installation: create the account, or promote "
        "and enable it. The password is chosen by a link that works once; it is mailed, or printed where it cannot be. "
        "All administrators and auditors are notified."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        # Without --as: no user of the portal does this.
        parser.add_argument("name", metavar="NAME", help="user name of a new or an existing account")
        parser.add_argument("--reason", required=True, help="why; administrators and auditors read it")
        parser.add_argument("--email", default="", metavar="ADDRESS", help="email address of the account")
        parser.add_argument("--json", action="store_true", help="print JSON")

    def run(self, options: Namespace) -> int:
        person = accounts.make_administrator(options.name, email=options.email, by=operator(), reason=options.reason)
        others = [each.get_username() for each in notifications.overseers().exclude(pk=person.pk).order_by("username")]
        # After the commit: a link that arrives is valid.
        is_mailed = self.mail_link(person)
        link = "" if is_mailed else notifications.reset_link(person)
        self.print_row(
            {"name": person.get_username(), "mailed_to": person.email if is_mailed else "", "link": link}
            | {"notified": others},
            f"{person} is an administrator. " + self.describe_link(person, is_mailed),
            as_json=options.json,
        )
        if not options.json:
            if link:
                self.stdout.write(link)
            names = ", ".join(others) or "no one, because there is no other administrator or auditor"
            self.stdout.write(f"Notified: {names}.")
        return DONE

    def mail_link(self, person: User) -> bool:
        """Mail the link if that is possible; return whether it was sent."""
        if not settings.SENDS_MAIL or not person.email:
            return False
        try:
            notifications.send_reset_link(person, notifications.MADE_ADMINISTRATOR)
        except notifications.NotSent as error:
            self.stderr.write(str(error))
            return False
        return True

    def describe_link(self, person: User, is_mailed: bool) -> str:
        validity = notifications.describe_validity()
        if is_mailed:
            return f"A link to choose a password was mailed to {person.email}. It can be used once, within {validity}."
        what = "link" if settings.PUBLIC_URL else "path of the portal"
        return f"Choose a password at this {what}, which can be used once, within {validity}, and is not shown again:"
