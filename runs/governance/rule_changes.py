"""The second signature: acts that loosen rules become change requests. The only code that inserts those of rules.

A service describes its act as a `Proposal` and calls `pass_or_submit`. What is approved is applied by the same service,
called again with the approved change request: `runs.governance.signed_changes`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from flows import canonical, encryption
from flows.db_text import sanitize
from flows.models import Environment
from runs import audit, events
from runs.actors import Actor, is_administrator
from runs.audit import signatures
from runs.digests import change_digest, rules_digest
from runs.errors import Refused
from runs.governance.loosening import Loosening
from runs.governance.loosening_gate import environments_of, require_confirmed
from runs.governance.powers import owns
from runs.models import ChangeRequest, RuleChange, RunEvent
from runs.models.policy import Stage

# Longer than a holiday weekend.
EXPIRES_AFTER = timedelta(days=7)
# One more administrator, of any group.
SECOND_SIGNATURE = Stage(needed=1, group="")
LONGEST_NAME = 650


@dataclass(frozen=True, slots=True)
class Proposal:
    """One row before and after an act: columns as JSON, secret ones apart.

    `before` is empty for a new row, `after` for one that would be deleted. `beneficiary` is who gains by it:
    "person:KEY" or "group:KEY".
    """

    subject_id: str
    subject_name: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    secret_before: Mapping[str, str] = field(default_factory=dict, repr=False)
    secret_after: Mapping[str, str] = field(default_factory=dict, repr=False)
    beneficiary: str = ""

    @property
    def secrets(self) -> dict[str, dict[str, str]]:
        found = {"before": dict(self.secret_before), "after": dict(self.secret_after)}
        return {side: values for side, values in found.items() if values}

    def sealed(self) -> bytes:
        return encryption.seal(json.dumps(self.secrets)) if self.secrets else b""


def pass_or_submit(
    found: Sequence[Loosening],
    act: audit.Act,
    proposal: Proposal,
    *,
    confirm: str,
    signed: ChangeRequest | None,
) -> ChangeRequest | None:
    """Return None if the act may go on, else the change request that it became; the service then does nothing more.

    It may go on if it loosens nothing, if the system does it, if the installation has a single administrator, or if
    `signed` is an approved change request for exactly this act. Raises `Refused` with code `loosening.…` or `rules.…`.
    """
    if signed:
        require_same(signed.rule_change, act.verb, proposal, found)
        return None
    if not found or act.by.holder is None:
        return None
    require_confirmed(found, by=act.by, reason=act.reason, confirm=confirm)
    return None if settings.SINGLE_ADMINISTRATOR else submit(found, act, proposal)


def require_same(rules: RuleChange, verb: str, proposal: Proposal, found: Sequence[Loosening]) -> None:
    """Refuse to apply an approved change to a row that moved since, or where it would loosen more than was approved."""
    approved = [rules.act, rules.subject_id, rules.before, rules.after, secrets_of(rules)]
    wanted = [verb, proposal.subject_id, proposal.before, proposal.after, proposal.secrets]
    is_more = any(asdict(each) not in rules.loosened for each in found)
    if is_more or not canonical.same(approved, wanted):
        raise moved(rules)


def moved(rules: RuleChange) -> Refused:
    return Refused(
        "rules.moved",
        f"{rules.subject_name} was changed after this was requested, so it cannot be approved any more. Reject it, and "
        "request the change again.",
    )


def secrets_of(rules: RuleChange) -> dict[str, dict[str, str]]:
    """Return the secret columns by side, "before" and "after": never store, log or render them."""
    found: dict[str, dict[str, str]] = (
        json.loads(encryption.unseal(rules.sealed_columns)) if rules.sealed_columns else {}
    )
    return found


def submit(found: Sequence[Loosening], act: audit.Act, proposal: Proposal) -> ChangeRequest:
    """Insert the change request; the audit entry of the act becomes that of its submission."""
    by, names = act.by, environments_of(found)
    # 1. Somebody must be able to sign: otherwise it would wait in vain.
    if not any(may_sign(person, by.user.pk, proposal.beneficiary) for person in administrators()):
        raise Refused(
            "rules.no_signer",
            f"This loosens the rules of {' and '.join(names)} and needs the approval of a second administrator, and "
            "there is no other one who could give it. Ask the operators of the portal to add an administrator "
            "(manage.py new_administrator).",
            environments=names,
        )
    # 2. The rows, signed.
    environment = Environment.objects.filter(slug=names[0]).first() if len(names) == 1 else None
    change = ChangeRequest(
        kind=ChangeRequest.Kind.RULES,
        environment=environment,
        environment_name=", ".join(names),
        requested_by=by.user,
        requested_by_name=by.name,
        on_behalf_of=by.owner,
        on_behalf_of_name=by.owner.get_username() if by.owner else "",
        channel=by.channel,
        requested_at=timezone.now(),
        reason=sanitize(act.reason.strip()),
        ticket=sanitize(act.ticket.strip()),
        needs_approval=True,
        approvals_needed=SECOND_SIGNATURE["needed"],
        policy={"stages": [SECOND_SIGNATURE]},
        state=ChangeRequest.State.WAITING,
        expires_at=timezone.now() + EXPIRES_AFTER,
    )
    rules = RuleChange(
        act=act.verb,
        subject_id=proposal.subject_id,
        subject_name=sanitize(proposal.subject_name)[:LONGEST_NAME],
        beneficiary=proposal.beneficiary,
        before=dict(proposal.before),
        after=dict(proposal.after),
        sealed_columns=proposal.sealed(),
        loosened=[asdict(each) for each in found],
    )
    change.contents = rules_digest(rules)
    change.digest = change_digest(change)
    change.signature = signatures.sign(change)
    # A constraint, not a query before it, decides which of two clicks is stored.
    try:
        with transaction.atomic():
            change.save(force_insert=True)
    except IntegrityError:
        waiting = ChangeRequest.objects.filter(
            contents=change.contents, kind=ChangeRequest.Kind.RULES, state=ChangeRequest.State.WAITING
        ).first()
        if waiting is None:
            raise
        act.is_repeat = True
        return waiting
    rules.change = change
    rules.save(force_insert=True)
    # 3. The entry, and who is notified.
    act.after = {
        "act": act.verb,
        "subject": proposal.subject_name,
        **differences(rules),
        "proposed": rules.loosened,
        "state": change.state,
        "digest": change.digest,
    }
    act.verb, act.subject, act.before = "request.submit", change, {}
    act.subject_kind = act.subject_id = act.subject_name = ""
    act.environment = environment.slug if environment else ""
    events.record(RunEvent.Kind.REQUEST_WAITING, change=change, data={"group": ""})
    return change


def differences(rules: RuleChange) -> dict[str, Any]:
    """Return the columns that would change: name -> before and after. Secret ones only as changed."""
    names = [name for name in {**rules.before, **rules.after} if rules.before.get(name) != rules.after.get(name)]
    found: dict[str, Any] = {name: [rules.before.get(name), rules.after.get(name)] for name in names}
    secrets = secrets_of(rules)
    before, after = secrets.get("before", {}), secrets.get("after", {})
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return {"columns": found, **({"secrets": sorted(changed)} if changed else {})}


# Who may sign ---------------------------------------------------------------------------------------------------------


def administrators() -> Collection[User]:
    return User.objects.filter(is_active=True, is_superuser=True, is_staff=True)


def may_sign(person: User, requester: int | None, beneficiary: str) -> bool:
    """Return whether an administrator neither requested the change nor gains by it."""
    return person.pk != requester and not gains(person, beneficiary)


def gains(person: User, beneficiary: str) -> bool:
    """Return whether a person is the beneficiary, in the group that is, or the owner of the service account that is."""
    kind, _, key = beneficiary.partition(":")
    if kind == "group":
        return person.groups.filter(pk=key).exists()
    return kind == "person" and key != "" and (str(person.pk) == key or owns(person, int(key)))


def can_view(change: ChangeRequest, by: Actor) -> bool:
    """Return whether the actor sees a change of rules: administrators, readers of the audit trail, its requester."""
    return by.is_same_person_as(change.requested_by_id) or oversees(by)


def oversees(by: Actor) -> bool:
    """Return whether the actor is an administrator or reads the audit trail; never within a scope."""
    return by.is_administrator or (by.scope is None and by.user.has_perm("runs.view_auditentry"))


def reads_trail(by: Actor) -> bool:
    """Return whether the actor reads the whole audit trail: as such, or with a token that was given that."""
    return oversees(by) or (by.reads_trail and can_read_trail(by.user))


def can_read_trail(user: User) -> bool:
    return is_administrator(user) or user.has_perm("runs.view_auditentry")


def visible_to(by: Actor) -> Q:
    """Return the condition for the change requests for rules that the actor sees."""
    rules = Q(kind=ChangeRequest.Kind.RULES)
    return rules if oversees(by) else rules & Q(requested_by=by.user.pk)


def waiting(by: Actor) -> list[ChangeRequest]:
    """Return the changes of rules that the actor sees and that can be decided now, the oldest first."""
    found = ChangeRequest.objects.filter(
        visible_to(by), state=ChangeRequest.State.WAITING, expires_at__gt=timezone.now()
    )
    return list(found.select_related("rule_change", "environment").order_by("requested_at", "pk"))


def approvable(by: Actor, waiting: Iterable[ChangeRequest]) -> list[ChangeRequest]:
    """Return those of the waiting changes of rules that the actor can approve; none but for administrators."""
    if not by.is_administrator:
        return []
    others = [change for change in waiting if change.requested_by_id != by.user.pk]
    return [change for change in others if not gains(by.user, change.rule_change.beneficiary)]


def waiting_for(by: Actor) -> list[ChangeRequest]:
    """Return the changes of rules that the actor can approve now, the oldest first; none but for administrators."""
    return approvable(by, waiting(by)) if by.is_administrator else []


def require_signer(change: ChangeRequest, by: Actor, *, approves: bool) -> None:
    """Refuse a decision by anyone but an administrator, and an approval by who would gain by it.

    Their own change request is refused before, as that of everyone. The beneficiary can reject.
    """
    if not by.is_administrator:
        raise Refused(
            "rules.administrators_only", f"{by.name} cannot decide on a change of rules. Only administrators can."
        )
    if approves and gains(by.user, change.rule_change.beneficiary):
        raise Refused(
            "rules.beneficiary", "You would gain by this change, so someone else must approve it. You can reject it."
        )
