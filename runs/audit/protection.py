"""What protects the audit trail and the approvals in the database: privileges of the portal's role, and triggers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import connection, models

from runs.audit.partitions import parts
from runs.models import (
    Approval,
    AuditCheckpoint,
    AuditEntry,
    BreakGlass,
    ChainRun,
    ChainStep,
    ChainVersion,
    ChangeRequest,
    Comment,
    RowVersion,
    RuleChange,
    RunRequest,
    RunSpec,
    Schedule,
    StepDecision,
    change_request,
    request,
    rule_change,
    run_spec,
    schedule,
)
from runs.models.approval import REVIEWED

# What a role could do to a table besides SELECT.
WRITES = ("INSERT", "UPDATE", "DELETE", "TRUNCATE", "TRIGGER")


@dataclass(frozen=True, slots=True)
class Privileges:
    """What the portal's role may do with a table; `columns` are those that it may update."""

    table: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return them as GRANT takes them."""
        update = [f"UPDATE ({', '.join(self.columns)})"] if self.columns else []
        return ", ".join([*self.table, *update])


ADDS = Privileges(("SELECT", "INSERT"))
READS = Privileges(("SELECT",))


def privileges() -> dict[str, Privileges]:
    """Return table -> privileges of the portal's role; on all other tables it may read and write rows.

    Partitions need none: they are reached through the partitioned table. Row versions are written by a trigger with the
    rights of its owner.
    """
    return {
        AuditEntry._meta.db_table: ADDS,
        AuditCheckpoint._meta.db_table: READS,
        RowVersion._meta.db_table: READS,
        Approval._meta.db_table: ADDS,
        Comment._meta.db_table: ADDS,
        StepDecision._meta.db_table: ADDS,
        **dict.fromkeys([model._meta.db_table for model in (ChainVersion, ChainStep, ChainRun)], ADDS),
        ChangeRequest._meta.db_table: Privileges(ADDS.table, columns(ChangeRequest, change_request.CHANGED)),
        RunSpec._meta.db_table: Privileges(ADDS.table, columns(RunSpec, run_spec.CHANGED)),
        RuleChange._meta.db_table: Privileges(ADDS.table, columns(RuleChange, rule_change.CHANGED)),
        RunRequest._meta.db_table: Privileges(ADDS.table, columns(RunRequest, request.CHANGED)),
        Schedule._meta.db_table: Privileges(ADDS.table, columns(Schedule, schedule.CHANGED)),
        BreakGlass._meta.db_table: Privileges(ADDS.table, columns(BreakGlass, REVIEWED)),
        **dict.fromkeys([part.table for part in parts()], Privileges()),
    }


def columns(model: type[models.Model], names: list[str]) -> tuple[str, ...]:
    return tuple(field.column for field in model._meta.concrete_fields if field.name in names and field.column)


# The tables by which it is decided what somebody may see.
DECIDING = ("flows_environment", "runs_grant", "auth_user", "auth_user_groups")
# table -> the triggers that protect it; all of them are ENABLE ALWAYS. `runs/migrations/triggers.sql` makes them.
TRIGGERS: dict[str, set[str]] = {
    AuditEntry._meta.db_table: {"append_only", "no_truncate", "own_transaction", "next_entry"},
    AuditCheckpoint._meta.db_table: {"append_only", "no_truncate"},
    RowVersion._meta.db_table: {"append_only", "no_truncate"},
    ChangeRequest._meta.db_table: {"approved_by_enough", "closed_stays_closed", "frozen", "stays", "no_truncate"},
    RunSpec._meta.db_table: {"frozen", "stays", "no_truncate"},
    RuleChange._meta.db_table: {"frozen", "stays", "no_truncate"},
    RunRequest._meta.db_table: {"released", "closed_stays_closed", "frozen", "stays", "no_truncate"},
    Schedule._meta.db_table: {"closed_stays_closed", "frozen", "stays", "no_truncate"},
    Approval._meta.db_table: {"four_eyes", "append_only", "no_truncate"},
    Comment._meta.db_table: {"append_only", "no_truncate"},
    StepDecision._meta.db_table: {"four_eyes", "append_only", "no_truncate"},
    ChainVersion._meta.db_table: {"append_only", "no_truncate"},
    ChainStep._meta.db_table: {"append_only", "no_truncate"},
    ChainRun._meta.db_table: {"append_only", "no_truncate"},
    BreakGlass._meta.db_table: {"four_eyes", "frozen", "reviewed_once", "stays", "no_truncate"},
    **{
        table: {"record_version", "announce_rights"} if table in DECIDING else {"record_version"}
        for table in (
            *("flows_server", "flows_environment", "flows_alias"),
            *("runs_grant", "runs_policy", "runs_window", "runs_freeze", "runs_serviceaccount"),
            *("runs_resourceprofile", "runs_signonidentity"),
            *("runs_hook", "runs_eventrule", "runs_channel"),
            *("runs_agent", "runs_agentstop"),
            *("auth_user", "auth_group", "auth_user_groups", "auth_user_user_permissions", "auth_group_permissions"),
        )
    },
}


def excess(role: str = "") -> list[str]:
    """Return what a role can do and must not, such as "UPDATE runs_approval"; by default the role of this connection.

    A superuser, the owner of the tables, and a member of their roles can do everything, whatever was revoked.
    """
    pairs: list[tuple[str, str, str]] = []
    for table, granted in privileges().items():
        pairs += [(table, each, "") for each in WRITES if each not in granted.table]
        if granted.columns:
            pairs += [(table, "UPDATE", column) for column in columns_of(table) if column not in granted.columns]
    tables, verbs, names = zip(*pairs, strict=True)
    return select(EXCESS, {"tables": list(tables), "verbs": list(verbs), "columns": list(names), "role": role})


def broken_triggers() -> list[str]:
    """Return the triggers that are missing, or that a session can switch off, as "table.trigger"."""
    wanted = {f"{table}.{name}" for table, names in TRIGGERS.items() for name in names}
    wanted |= {f"{part.table}.no_truncate" for part in parts()}
    return sorted((wanted - set(select(ALWAYS, {}))) | set(select(NOT_ALWAYS, {"tables": list(TRIGGERS)})))


def columns_of(table: str) -> list[str]:
    return next(
        [field.column for field in model._meta.concrete_fields if field.column]
        for model in (ChangeRequest, RunSpec, RuleChange, RunRequest, Schedule, BreakGlass)
        if model._meta.db_table == table
    )


# Membership counts without inheritance too: SET ROLE takes those rights. Tables before columns.
EXCESS = """
    WITH held AS (
        SELECT oid FROM pg_roles WHERE pg_has_role(coalesce(nullif(%(role)s, ''), current_user), oid, 'MEMBER')
    )
    SELECT asked.verb || ' ' || asked.name || CASE asked.part WHEN '' THEN '' ELSE '.' || asked.part END
    FROM unnest(%(tables)s::text[], %(verbs)s::text[], %(columns)s::text[]) WITH ORDINALITY
        AS asked (name, verb, part, place)
    WHERE EXISTS (
        SELECT FROM held WHERE CASE asked.part
        WHEN '' THEN has_table_privilege(held.oid, quote_ident(asked.name), asked.verb)
        ELSE has_column_privilege(held.oid, quote_ident(asked.name), asked.part, asked.verb) END
    ) ORDER BY asked.part <> '', asked.place
"""
ALWAYS = "SELECT tgrelid::regclass || '.' || tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled = 'A'"
# The copies on partitions are among them.
NOT_ALWAYS = """
    SELECT tgrelid::regclass || '.' || tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'A'
    AND coalesce((SELECT inhparent FROM pg_inherits WHERE inhrelid = tgrelid), tgrelid) = ANY (%(tables)s::regclass[])
"""


def select(statement: str, values: dict[str, Any]) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return [str(value) for (value,) in cursor.fetchall()]
