"""Creates the demo's environments, accounts and grants; `manage.py demo` runs it once for each environment."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group, User
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from flows.models import Environment, Server
from portal.demo.account_tokens import ensure_tokens
from runs import audit, queue
from runs.actors import Actor
from runs.governance import grants as governance_grants
from runs.governance import policies
from runs.models import Grant, Policy, Window
from runs.models.policy import Risk

# name -> (groups, superuser, what the account is for)
CAST: dict[str, tuple[list[str], bool, str]] = {
    "vera": (["Viewer"], False, "viewer: views dev, cannot run anything"),
    "otto": (["Operator"], False, "operator: runs and cancels in dev, requests runs in prod"),
    "anna": (["Approver"], False, "approver: approves requests in prod"),
    "ada": ([], True, "administrator: environments, users, grants; needs a grant to run"),
    "bea": ([], True, "second administrator: approves what loosens the rules of prod"),
    "axel": (["Auditor"], False, "auditor: views everything and the audit trail, changes nothing"),
}
# The grants for prod, which is protected: (group, verbs, flow or "" for all flows)
SEE, RUN = ["see", "see inputs", "see logs"], ["trigger", "trigger later", "rerun", "backfill"]
STOP = ["cancel", "put back", "force cancel"]
PROD: list[tuple[str, list[str], str]] = [
    ("Operator", [*SEE, "cancel", "put back"], ""),
    ("Operator", [*RUN, "break glass"], "long-haul"),
    ("Operator", RUN, "crm-data-acquisition"),
    ("Approver", [*SEE, "approve", "override freeze"], ""),
    ("Release manager", [*SEE, *RUN, *STOP, "approve", "schedule", "pause", "manage"], ""),
    ("Release manager", ["override freeze", "break glass"], ""),
    ("Auditor", SEE, ""),
]
PASSWORD = "portal-demo"  # noqa: S105  (printed at the start of every demo, which listens on loopback only)


class Command(BaseCommand):
    help = "Create the demo's environments, accounts and grants. Prints the accounts as JSON."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--environment", action="append", default=[], metavar="NAME=API_URL")
        parser.add_argument("--tokens", type=Path, metavar="FOLDER", help="write a token of each account there")

    def handle(self, *args: Any, **options: Any) -> None:
        # Accounts with a published password, and tokens in their names, are for a demo alone.
        if settings.PRODUCTION:
            raise CommandError("Demo only: the accounts have a well-known password.")
        self.create(options["environment"])
        if options["tokens"]:
            ensure_tokens(options["tokens"], CAST)
        accounts = [{"name": name, "password": PASSWORD, "may": row[2]} for name, row in CAST.items()]
        self.stdout.write(json.dumps(accounts))

    @transaction.atomic
    def create(self, environments: list[str]) -> None:
        by = Actor.system("demo")
        for position, pair in enumerate(environments):
            name, _, url = pair.partition("=")
            if not url:
                raise CommandError(f"--environment requires NAME=API_URL, not {pair!r}.")
            self.environment(name, url, position, by)
        for name, (groups, is_superuser, _) in CAST.items():
            person, is_new = User.objects.get_or_create(
                username=name, defaults={"is_staff": True, "is_superuser": is_superuser}
            )
            # Only once: a restarted demo keeps what its users changed.
            if is_new:
                with audit.act("person.create", person, by=by, subject_kind="person"):
                    person.set_password(PASSWORD)
                    person.save()
                    person.groups.set(Group.objects.filter(name__in=groups))
        self.grants(by)

    def environment(self, name: str, url: str, position: int, by: Actor) -> None:
        protected = name == "prod"
        environment = Environment.objects.select_related("server").filter(slug=name).first()
        # At every start: the server may have got another port, which may have been that of another one.
        auth = os.environ.get(f"PORTAL_DEMO_AUTH_{name.upper()}", "")
        server = environment.server if environment else Server()
        verb = "environment.change" if environment else "environment.create"
        if environment is None or (server.api_url, server.credential) != (url, auth):
            environment = environment or Environment(
                slug=name,
                description="Production" if protected else "Development and tests",
                is_protected=protected,
                needs_approval=protected,
                needs_reason=protected,
                position=position,
            )
            with audit.act(verb, environment, by=by, environment=name) as act:
                server.api_url = url
                server.credential_kind = Server.CredentialKind.BASIC if auth else Server.CredentialKind.NONE
                server.credential = auth
                server.save()
                environment.server = server
                environment.save()
                act.after = {"api_url": url}
        queue.enqueue("runs.tasks.sync", server.pk)

    def grants(self, by: Actor) -> None:
        prod = Environment.objects.filter(slug="prod").first()
        # Grants are never edited, so a second start must not create them again.
        if prod is None or Grant.objects.filter(environment=prod).exists():
            return
        for group, verbs, flow in PROD:
            governance_grants.grant(
                by=by,
                group=Group.objects.get(name=group),
                verbs=verbs,
                environment=prod,
                flow_name=flow,
                reason="Production rules of the demo",
            )
        self.rules(prod, by)

    def rules(self, prod: Environment, by: Actor) -> None:
        policies.save_policy(
            Policy(
                name="Production",
                environment=prod,
                stages=[{"needed": 1, "group": "Approver"}],
                ticket_pattern="^OPS-[0-9]+$",
                ticket_link="https://tickets.example/{ticket}",
                needs_confirmation=True,
                risk=Risk.HIGH,
            ),
            by=by,
        )
        policies.save_window(
            Window(
                name="Weekly backup",
                environment=prod,
                effect=Window.Effect.DENY,
                cron="0 2 * * 0",
                minutes=60,
                reason="Backup of the warehouse",
            ),
            by=by,
        )
