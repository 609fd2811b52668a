"""Configure the portal: the only code that changes environments, their servers and aliases."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from django.db import connection, models
from django.db.models import Q

from flows import encryption, server_identity
from flows.models import Alias, Environment, Server
from runs import audit, events, queue
from runs.actors import Actor
from runs.errors import Refused
from runs.governance import loosening_gate, rule_changes
from runs.governance.display_names import require_own_name
from runs.governance.loosening import Loosening, loosened
from runs.governance.rule_changes import Proposal
from runs.governance.server_scopes import require_own_server, scope_loosenings
from runs.models import Action, ChangeRequest, RunEvent

# Columns in the audit trail. Secrets are not among them: they are recorded as "set" or "changed", never by value.
ENVIRONMENT = [
    "slug",
    "display_name",
    "description",
    "scope_kind",
    "scope_values",
    "is_protected",
    "needs_approval",
    "needs_reason",
    "approval_minutes",
    "independence_hours",
    "pending_minutes",
    "late_minutes",
    "silent_minutes",
    "cancelling_minutes",
    "puts_back",
    "keep_runs_days",
    "keep_events_days",
    "position",
    "is_active",
]
SERVER = ["api_url", "ui_url", "credential_kind"]
# Key of the advisory lock of a save; any constant that nothing else uses.
SAVE_LOCK = 0x656E7669726F6E
REENTER = (
    "The API address has changed. Enter the credential again: the stored one is used only for the previous address."
)
# Related rows that must be kept -> their name in the refusal to delete the environment.
HISTORY = {
    "deployments": "deployments",
    "runs": "runs",
    "run_requests": "run requests",
    "grants": "grants",
    "bypasses": "bypasses",
    "resource_profiles": "resource profiles",
}


def require_administrator(by: Actor) -> None:
    """Refuse everyone but administrators and the system."""
    if not by.is_administrator:
        raise Refused(
            "access.administrators_only", f"{by.name} cannot change the configuration. Only administrators can."
        )


def columns(row: models.Model, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}


def difference(before: dict[str, Any], after: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the columns that changed, before and after."""
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return ({name: before.get(name) for name in changed if before}, {name: after.get(name) for name in changed})


def require_same_address(stored: Server, server: Server) -> None:
    """Refuse to use a stored credential for another server."""
    if not server_identity.is_same_address(stored.api_url, server.api_url):
        raise Refused("credential.reenter", REENTER)


def save_environment(
    environment: Environment,
    *,
    by: Actor,
    reason: str = "",
    confirm: str = "",
    signed: ChangeRequest | None = None,
) -> ChangeRequest | None:
    """Save a new or changed environment with its server, and queue a sync.

    `environment.server` has the new address and credential; the address decides which row stores them. `confirm` is the
    name of a protected environment whose rules become looser: the save then waits as the change request that is
    returned, until it is approved and comes again as `signed`. Raises `Refused`, such as `environment.same_server`,
    `credential.reenter` or `loosening.confirm`.
    """
    verb = "environment.change" if environment.pk else "environment.create"
    with audit.act(verb, environment, by=by, reason=reason) as act:
        require_administrator(by)
        lock_saves()
        # What is stored, not what the caller loaded: someone may have changed it meanwhile.
        stored = Environment.objects.select_related("server").filter(pk=environment.pk).first()
        server = environment.server
        before = describe_environment(stored) if stored else {}
        after = describe_environment(environment)
        is_stored = stored is not None and bytes(stored.server.sealed_credential) == bytes(server.sealed_credential)
        # Otherwise an administrator could read the stored secret by pointing the address at their own server.
        if stored and is_stored and server.sealed_credential:
            require_same_address(stored.server, server)
        require_own_server(environment)
        require_own_name(environment)
        found = loosened_by(stored, environment)
        proposal = propose(stored, environment)
        if waiting := rule_changes.pass_or_submit(found, act, proposal, confirm=confirm, signed=signed):
            return waiting
        environment.loosened = loosening_gate.standing(stored, environment, by=by) if stored else {}
        if stored and not is_stored:
            # Both are encrypted, so only that they differ can be recorded.
            after["credential"] = "changed" if after["credential"] else ""
        row = stored_server(stored, server)
        server.pk = row.pk if row else None
        server.save()
        # Assigned again, because the environment has taken its key from it before.
        environment.server = server
        environment.save()
        if stored and stored.server_id != server.pk:
            delete_unused(stored.server)
        act.before, act.after = difference(before, after)
        act.environment = environment.slug
        loosening_gate.record_and_notify(found, act, signed)
        if environment.is_active:
            queue.enqueue("runs.tasks.sync", server.pk)
    return None


def propose(stored: Environment | None, environment: Environment) -> Proposal:
    """Return the environment and its server before and after a save."""
    row = stored_server(stored, environment.server)
    return Proposal(
        subject_id=str(environment.pk or ""),
        subject_name=f"environment {environment}",
        before={**columns(stored, ENVIRONMENT), **columns(stored.server, SERVER)} if stored else {},
        after={**columns(environment, ENVIRONMENT), **columns(environment.server, SERVER)},
        secret_before={"credential": credential_of(row)} if row else {},
        secret_after={"credential": credential_of(environment.server)},
    )


def credential_of(server: Server) -> str:
    """Return the credential; one that no key decrypts is compared by its encrypted form."""
    try:
        return server.credential
    except encryption.DecryptionError:
        return f"unreadable {bytes(server.sealed_credential).hex()}"


def lock_saves() -> None:
    """Let one environment be saved at a time: two at once would not see each other's address."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [SAVE_LOCK])


def stored_server(stored: Environment | None, server: Server) -> Server | None:
    """Return the row in which the server of an environment is stored, None if it needs a new one.

    All environments on one server share its row. Another address is another server: the row goes there with its
    environment, unless it is also that of another environment, which stays where it is.
    """
    own = stored.server if stored else None
    address = server_identity.normalize(server.api_url)
    same = [row for row in Server.objects.order_by("pk") if server_identity.normalize(row.api_url) == address]
    if same:
        return own if own in same else same[0]
    is_shared = own is not None and stored is not None and own.environments.exclude(pk=stored.pk).exists()
    return None if is_shared else own


def loosened_by(stored: Environment | None, environment: Environment) -> list[Loosening]:
    """Return what a save makes looser, for the environment and for others on its server."""
    row = stored_server(stored, environment.server)
    others = loosened(row, environment.server) if row else []
    around = scope_loosenings(stored, environment, row)
    return list(dict.fromkeys([*loosened(stored, environment), *others, *around]))


def delete_unused(server: Server) -> None:
    """Delete a server that no environment is on any more, with its health and work pools."""
    if not server.environments.exists():
        server.delete()


def disable_same_server(environments: Collection[Environment], others: Iterable[Environment]) -> None:
    """Disable all but one of the environments that a sync found to be one server.

    The protected one stays, else the oldest: a newcomer must not push out the rules that are in force. Those that have
    scopes of the server together stay together.
    """

    def rank(each: Environment) -> tuple[bool, bool, int]:
        return not each.is_active, not each.is_protected, each.pk

    keep, *ranked = sorted([*environments, *others], key=rank)
    together = {each.pk for each in environments}
    rest = [each for each in ranked if not {keep.pk, each.pk} <= together]
    for each in rest:
        reason = f"It is the same Prefect server as {keep}: their deployments have the same ids."
        with audit.act("environment.change", each, by=Actor.system(), reason=reason, environment=each.slug) as act:
            act.before, act.after = {"is_active": True}, {"is_active": False}
            # No entry when another sync was faster, or when someone syncs a disabled environment by hand.
            act.is_repeat = not Environment.objects.filter(pk=each.pk, is_active=True).update(is_active=False)
            if not act.is_repeat:
                events.record(RunEvent.Kind.ENVIRONMENT_DISABLED, environment=each, data={"reason": reason})


def describe_environment(environment: Environment) -> dict[str, Any]:
    server = environment.server
    credential = {"credential": "set" if server.sealed_credential else ""}
    return columns(environment, ENVIRONMENT) | columns(server, SERVER) | credential


def check_environment(environment: Environment, *, by: Actor) -> None:
    """Queue a check of the connection: a web process never calls Prefect, so a server that hangs cannot hang a page."""
    with audit.act("environment.check", environment, by=by, environment=environment.slug):
        require_administrator(by)
        queue.enqueue("runs.tasks.check", environment.server_id)


def sync_environment(environment: Environment, *, by: Actor) -> None:
    """Queue a sync of the deployments and runs. A disabled environment is refused: its server may be gone."""
    with audit.act("environment.sync", environment, by=by, environment=environment.slug):
        require_administrator(by)
        if not environment.is_active:
            raise Refused("environment.inactive", "The environment is disabled. Enable it before you sync it.")
        queue.enqueue("runs.tasks.sync", environment.server_id)


def delete_environment(environment: Environment, *, by: Actor) -> None:
    """Delete an environment that was never used."""
    with audit.act("environment.delete", environment, by=by, environment=environment.slug) as act:
        require_administrator(by)
        act.before = describe_environment(environment)
        act.subject_id = str(environment.pk)  # Django clears the primary key on delete
        if why_not := why_not_delete(environment):
            raise Refused("environment.in_use", why_not)
        environment.delete()
        delete_unused(environment.server)


def why_not_delete(environment: Environment) -> str:
    """Return why an environment cannot be deleted, as a sentence; empty when it can."""
    left = [name for related, name in HISTORY.items() if getattr(environment, related).exists()]
    if Action.objects.filter(Q(pool__environment=environment) | Q(queue__pool__environment=environment)).exists():
        left.append("changes of work pools")
    if not left:
        return ""
    return (
        f"{environment} has {' and '.join(left)}, which must be kept. Disable it instead: it is then no longer "
        "synced, and no runs can be requested there."
    )


def save_alias(alias: Alias, *, by: Actor) -> None:
    """Save a new or changed alias."""
    stored = Alias.objects.filter(pk=alias.pk).first()
    with audit.act("alias.change" if stored else "alias.create", alias, by=by) as act:
        require_administrator(by)
        alias.save()
        act.before, act.after = difference(describe_alias(stored) if stored else {}, describe_alias(alias))
        act.environment = alias.environment.slug


def delete_alias(alias: Alias, *, by: Actor) -> None:
    """Delete an alias; requests keep the full name of their deployment."""
    with audit.act("alias.delete", alias, by=by, environment=alias.environment.slug) as act:
        require_administrator(by)
        act.before, act.subject_id = describe_alias(alias), str(alias.pk)
        alias.delete()


def describe_alias(alias: Alias) -> dict[str, Any]:
    return {"environment": alias.environment.slug, "name": alias.name, "deployment": alias.full_name}
