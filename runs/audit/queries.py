"""Filter audit entries: the same criteria for the page, an immediate export and a background export."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta

from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.dateparse import parse_date
from django.utils.text import smart_split, unescape_string_literal

from flows.wording import deployment_name
from runs.models import AuditEntry, EventRule, Hook, Token
from runs.models.audit_verbs import VERBS

SEARCHED = ("actor_name", "on_behalf_of", "subject_name", "reason", "ticket", "message", "address")
SEARCHED_WHOLE = ("subject_id", "digest", "token_id")
HELP = "Action, actor, subject, reason, ticket, message, address, or a full digest"
# A person is a subject under either kind: `user` is the model's name, `person` is what most services pass.
PERSON = ("person", "user")
SIGN_INS = ("session.sign_in", "session.sign_out")
HIDDEN = "hidden"
# Kinds of actor whose id is that of a user: a token and a hook act as their account, an agent and an event rule
# as their owner.
ACTING = ("person", "token", "webhook", "agent", "rule")


def day(text: str) -> date | None:
    """Return the date, or None when the text is not one: an address can have anything."""
    try:
        return parse_date(text)
    except ValueError:
        return None


def midnight(on: date) -> datetime:
    return timezone.make_aware(datetime.combine(on, time.min))


def since(text: str) -> Q:
    first = day(text)
    return Q(at__gte=midnight(first)) if first else Q()


def until(text: str) -> Q:
    """Return the filter for entries up to a day, which is included."""
    last = day(text)
    return Q(at__lt=midnight(last + timedelta(days=1))) if last and last < date.max else Q()


def subjects(text: str) -> Q:
    """Return the filter for several subjects, given as "run:12,runrequest:7"."""
    found = Q(pk__in=[])
    for each in text.split(","):
        kind, _, pk = each.partition(":")
        found |= Q(subject_kind=kind, subject_id=pk)
    return found


def person(pk: str) -> Q:
    """Return the filter for what a person or their tokens did, and for what was done to their account."""
    return Q(actor_id=pk, actor_kind__in=ACTING) | Q(subject_kind__in=PERSON, subject_id=pk)


def token(key: str) -> Q:
    """Return the filter for what was done with a token, or came through a hook or an event rule."""
    # With its account, whose entries are indexed.
    account = Token.objects.filter(key=key).values_list("user", flat=True).first()
    account = account or Hook.objects.filter(key=key).values_list("account__user", flat=True).first()
    account = account or EventRule.objects.filter(key=key).values_list("owner", flat=True).first()
    return Q(token_id=key) & (Q(actor_id=str(account)) if account else Q())


def loosened(environment: str) -> Q:
    """Return the filter for acts that loosened the rules of an environment."""
    return Q(after__loosened__contains=[{"environment": environment}])


def verbs(text: str) -> Q:
    """Return the filter for entries of any of these actions, given as "request.submit,request.approve"."""
    return Q(verb__in=text.split(","))


def sign_ins(text: str) -> Q:
    """Return the filter that leaves out who signed in and out, which on many days is most of the trail."""
    return ~Q(verb__in=SIGN_INS, outcome=AuditEntry.Outcome.DONE) if text == HIDDEN else Q()


def search(text: str) -> Q:
    """Return the filter for a search text: every word must match; a quoted phrase is one word."""
    found = Q()
    for word in smart_split(text):
        # smart_split keeps the quotation marks.
        if word.startswith(('"', "'")) and word[0] == word[-1] and len(word) > 1:
            word = unescape_string_literal(word)
        # Subjects have the names of deployments as pages show them.
        word = deployment_name(word)
        either = Q()
        for column in SEARCHED:
            either |= Q(**{f"{column}__icontains": word})
        # Ids and digests match as a whole: a part of one means nothing, and would match too much.
        for column in SEARCHED_WHOLE:
            either |= Q(**{column: word})
        # Verbs are stored by name but shown by label, and people search for what they see.
        named = [verb for verb, label in VERBS.items() if word.casefold() in label.casefold()]
        found &= either | Q(verb__in=named) if named else either
    return found


def column(name: str) -> Callable[[str], Q]:
    return lambda value: Q(**{name: value})


# query parameter -> filter
CRITERIA: dict[str, Callable[[str], Q]] = {
    "at_from": since,
    "at_to": until,
    "subject": subjects,
    "person": person,
    "token": token,
    "loosened": loosened,
    "verb": verbs,
    "sign_ins": sign_ins,
    "q": search,
    **{name: column(name) for name in ("actor_name", "environment", "outcome", "channel")},
}
# Criteria of which a query string can have several values; they are joined by commas.
SEVERAL = ("verb",)


def selected(query: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return the filters that are set in a query string, given as its values by name; of others the last one counts."""
    given = {name: [value for value in query.get(name, ()) if value] for name in CRITERIA}
    return {name: ",".join(values if name in SEVERAL else values[-1:]) for name, values in given.items() if values}


def entries(criteria: Mapping[str, str]) -> QuerySet[AuditEntry]:
    """Return the entries that match all criteria; raises KeyError for an unknown one."""
    # All filters are combined; each one alone never widens the result.
    condition = Q()
    for name, value in criteria.items():
        condition &= CRITERIA[name](value)
    return AuditEntry.objects.filter(condition)
