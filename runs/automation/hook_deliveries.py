"""Messages that come to a hook: proven, and done once. The only code that writes `HookDelivery`.

First the message is proven (`authenticate`), with the same work for an unknown address as for a wrong signature. Then
it is stored and acted on in one transaction (`deliver`), so that a message that is sent again is answered as before.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from flows import deployments
from flows.models import Deployment, Environment
from flows.parameters import Invalid
from runs import events, requests
from runs.actors import Actor
from runs.automation import LARGEST_EVENT, event_rules, hook_digest, hook_mapping, hook_messages, hook_refusals, hooks
from runs.automation.hook_messages import PING, Message
from runs.errors import Refused
from runs.models import Grant, Hook, HookDelivery, HookRefusal, HookSecret, RunEvent, Verb

Outcome = HookDelivery.Outcome
# Namespace of the submission keys that come from a hook and a message id.
NAMESPACE = uuid.UUID("6f0b6c0e-4d55-4b0e-9a07-31f0a6a55c11")
# Codes of refusals that anyone can cause, who knows the address or not.
UNPROVEN = frozenset(
    ["hook.unknown", "hook.too_large", "hook.header", "hook.signature", "hook.altered", "hook.timestamp"]
)
NOTED_EVERY = timedelta(minutes=1)
FORGOTTEN_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Incoming:
    """What came to an address. `body` is None if it is larger than any hook accepts, and was not read."""

    key: str
    headers: Mapping[str, str]
    body: bytes | None
    address: str = ""
    user_agent: str = ""


@dataclass(frozen=True, slots=True)
class Proven:
    """A message that was signed with a secret of an enabled hook."""

    hook: Hook
    message: Message
    body: bytes
    by: Actor


# Prove ----------------------------------------------------------------------------------------------------------------


def authenticate(incoming: Incoming) -> Proven:
    """Return the message of what came, with its hook; count and record a refusal.

    Raises `Refused` with code `hook.unknown`, `hook.too_large`, `hook.header`, `hook.signature`, `hook.altered`,
    `hook.timestamp`, `hook.disabled` or `hook.owner_changed`. All but the last two say nothing about the hook.
    """
    hook = hooks.rows().filter(key=incoming.key).first()
    if hook is None:
        # The work of a hook with a wrong signature.
        texts = [hook_digest.unsealed(secret.sealed_text) for secret in HookSecret.objects.filter(hook=0)]
        hook_messages.find_secret(Message("", incoming.body or b"", ("v1,",)), Hook.Kind.STANDARD, texts)
        raise Refused("hook.unknown", "There is no hook at this address.")
    try:
        return prove_saved(hook, incoming)
    except Refused as refusal:
        by = actor_of(hook, incoming)
        # Not the account: anyone could have sent it.
        unproven = replace(by, id="", name="unproven sender", on_behalf_of="")
        hook_refusals.note(hook, refusal, unproven if refusal.code in UNPROVEN else by)
        raise


def prove_saved(hook: Hook, incoming: Incoming) -> Proven:
    """Prove a message; a hook that is being changed is read again, so that half of a change is no alarm."""
    try:
        return prove(hook, incoming)
    except Refused as refusal:
        if refusal.code != "hook.altered":
            raise
    return prove(hooks.rows().get(pk=hook.pk), incoming)


def prove(hook: Hook, incoming: Incoming) -> Proven:
    # 1. Its form, before anything is computed from it.
    if incoming.body is None or len(incoming.body) > hook.max_bytes:
        raise Refused("hook.too_large", f"The body has more than {hook.max_bytes:,} bytes.", limit=hook.max_bytes)
    message = hook_messages.SCHEMES[hook.kind].read(incoming.headers, incoming.body)
    # 2. Its signature, with secrets that the portal stored.
    secrets = list(hook.secrets.order_by("pk"))
    texts = [hook_digest.unsealed(secret.sealed_text) for secret in secrets]
    is_usable = all(hook_messages.is_usable(hook.kind, text) for text in texts)
    position = hook_messages.find_secret(message, hook.kind, texts if is_usable else [])
    hook_digest.require_intact(hook, texts)
    if position is None:
        raise Refused("hook.signature", "No signature of the message was made with a valid secret of the hook.")
    hook_messages.require_recent(message, timezone.now())
    # 3. Only to those who know a secret: whether it accepts anything.
    require_open(hook)
    note_use(secrets[position])
    hook_digest.renew(hook, texts)
    return Proven(hook, message, incoming.body, actor_of(hook, incoming))


def require_open(hook: Hook) -> None:
    """Refuse a hook that has ended, that is disabled, also with its accounts, or whose account got another owner."""
    account = hook.account
    if not hook.is_enabled or not account.user.is_active or not account.owner.is_active:
        raise Refused("hook.disabled", "The hook, its service account or the owner of that is disabled.")
    if hook.valid_until <= timezone.now():
        raise Refused("hook.ended", "The hook has ended. Its owner can renew it.")
    if hook.owner_id != account.owner_id:
        raise Refused(
            "hook.owner_changed",
            f"{account} has another owner since the secrets were made. The owner has to replace them.",
        )


def actor_of(hook: Hook, incoming: Incoming) -> Actor:
    """Return the actor of a hook: its account, which may run its deployment and do nothing else."""
    deployment = hook.deployment
    run = Grant(
        effect=Grant.Effect.ALLOW,
        verbs=[Verb.TRIGGER],
        environment_id=deployment.environment_id,
        full_name=deployment.full_name,
    )
    return Actor.hook(
        hook.account.user,
        key=hook.key,
        scope=(run,),
        owner=hook.account.owner,
        address=incoming.address,
        user_agent=incoming.user_agent,
    )


def note_use(secret: HookSecret) -> None:
    now = timezone.now()
    if secret.last_used_at is None or secret.last_used_at < now - NOTED_EVERY:
        HookSecret.objects.filter(pk=secret.pk).update(last_used_at=now)


# Act ------------------------------------------------------------------------------------------------------------------


def deliver(proven: Proven) -> HookDelivery:
    """Request the run that a message asks for, once, and return what was done.

    The same message again returns the same delivery. Raises `Refused` with code `hook.replay` for another one with its
    id, or for its body with another id where no id is signed.
    """
    try:
        with transaction.atomic():
            delivery, is_new = insert_once(proven)
            if is_new:
                act(proven, delivery)
                record_event(proven, delivery)
            return delivery
    except Refused as refusal:
        hook_refusals.note(proven.hook, refusal, proven.by)
        raise


def insert_once(proven: Proven) -> tuple[HookDelivery, bool]:
    """Insert the delivery of a message, or return the one that it has, and whether it is new."""
    hook, message = proven.hook, proven.message
    digest = hashlib.sha256(proven.body).hexdigest()
    delivery = HookDelivery(
        hook=hook,
        message_id=message.id,
        replay_key=None if message.covers_id else digest,
        outcome=Outcome.REFUSED,
        address=proven.by.address[:64],
        body_digest=digest,
        size=len(proven.body),
    )
    # The unique keys decide, not a query before them: the same message can arrive twice at once.
    try:
        with transaction.atomic():
            delivery.save(force_insert=True)
    except IntegrityError:
        stored = HookDelivery.objects.filter(hook=hook, message_id=message.id, body_digest=digest).first()
        if stored is None:
            raise Refused(
                "hook.replay", "A message with this id had another body, or one with this body had another id."
            ) from None
        HookDelivery.objects.filter(pk=stored.pk).update(attempts=F("attempts") + 1)
        return stored, False
    return delivery, True


def act(proven: Proven, delivery: HookDelivery) -> None:
    """Decide what a new message does, do it, and store it."""
    hook, message = proven.hook, proven.message
    try:
        if message.event == PING:
            delivery.outcome, delivery.code = Outcome.IGNORED, "ping"
            delivery.message = "GitHub sends this event when a webhook is set up. It requests nothing."
        elif not hook_mapping.satisfies(payload := hook_mapping.read(proven.body), hook.predicate):
            delivery.outcome, delivery.code = Outcome.IGNORED, "condition"
            delivery.message = "The body does not satisfy the condition of the hook."
        else:
            # Deployed again, it has another row.
            target = deployments.current(hook.deployment) or hook.deployment
            delivery.run_request = requests.submit(
                target,
                hook_mapping.parameters_of(payload, hook.mapping),
                by=proven.by,
                reason=f"Message {message.id} to hook {hook.name}",
                submission_key=uuid.uuid5(NAMESPACE, f"{hook.key} {message.id}"),
            )
            delivery.outcome = Outcome.ACCEPTED
    except (Refused, Invalid) as refusal:
        delivery.code, delivery.message = refusal.code, str(refusal)
        # What a request is refused for is in the trail already.
        if isinstance(refusal, Refused) and refusal.code.startswith("hook."):
            hook_refusals.note(hook, refusal, proven.by)
    delivery.save(update_fields=["outcome", "code", "message", "run_request"])


def record_event(proven: Proven, delivery: HookDelivery) -> None:
    """Record the message for event rules, with its body only if a rule waits for messages to this hook.

    What GitHub sends to try the hook is no message.
    """
    hook = proven.hook
    if proven.message.event == PING:
        return
    data: dict[str, Any] = {"hook": hook.pk, "delivery": delivery.pk}
    if delivery.size <= LARGEST_EVENT and event_rules.firing().filter(hook=hook).exists():
        with suppress(Refused):
            data["body"] = hook_mapping.read(proven.body)
    # Its environment only: by a request or a run, those who can see that would read it.
    events.record(RunEvent.Kind.HOOK_DELIVERED, environment=hook.deployment.environment, data=data)


# Forget ---------------------------------------------------------------------------------------------------------------


def forget(environment: Environment, before: datetime) -> bool:
    """Delete the first old deliveries and counts of an environment's hooks; return whether there were any.

    Never those of messages that could still come again with a signature that is recent enough. After that the
    submission key of a request still holds for its id.
    """
    before = min(before, timezone.now() - 2 * hook_messages.TOLERANCE)
    places = Deployment.objects.filter(environment=environment)
    deliveries = HookDelivery.objects.filter(hook__deployment__in=places, received_at__lt=before)
    counts = HookRefusal.objects.filter(hook__deployment__in=places, day__lt=before.date())
    found = False
    for rows in (deliveries, counts):
        pks = list(rows.order_by("pk").values_list("pk", flat=True)[:FORGOTTEN_AT_ONCE])
        found |= bool(pks and rows.model._default_manager.filter(pk__in=pks).delete()[0])
    return found
