"""The form of a new token: its account, its life, its networks, and its scopes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, time, timedelta
from typing import Any

from django import forms
from django.contrib.auth.models import User
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from flows.db_text import sanitize
from flows.models import Environment
from portal.admin import double_submit
from portal.admin.access.forms import VerbLine, read_condition, text, verb_groups
from runs.access import predicates
from runs.access.decisions import Permissions
from runs.errors import Refused
from runs.governance import rule_changes, token_limits
from runs.models import Agent, Token, TokenScope

INPUT = {"class": "portal-input"}
PLAIN = {"autocomplete": "off", "spellcheck": "false"}
# Scopes that the page has room for: without a script no row can be added.
ROWS = 4
DATE = "date"
LIFETIMES = [("7", "7 days"), ("30", "30 days"), ("90", "90 days"), ("365", "1 year"), (DATE, "until a date")]
# Code of a refusal -> the field it is about. A wrong expiry is about the choice or the date.
FIELDS = {
    "token.name_required": "name",
    "token.networks": "networks",
    "token.not_own": "account",
    "agent.not_own": "agent",
    "token.agent_scope": "agent",
    "token.trail": "reads_trail",
}


class AccountField(forms.ModelChoiceField):  # type: ignore[type-arg]  # Django's class takes no argument when it runs
    """A choice of oneself and one's service accounts."""

    def label_from_instance(self, user: Any) -> str:
        return f"service account {user}" if hasattr(user, "service_account") else f"{user} (you)"


class TokenForm(forms.Form):
    """The arguments of `tokens.issue` but for the scopes."""

    account = AccountField(
        queryset=User.objects.none(),
        empty_label=None,
        widget=forms.Select(INPUT),
        help_text="The token acts as this account, within the scopes below.",
    )
    agent = forms.ModelChoiceField(
        label="For",
        queryset=Agent.objects.none(),
        required=False,
        empty_label="a program, by the REST API",
        widget=forms.Select(INPUT),
        help_text="A token for one of your agents works with the tools of agents only. It can have view, view logs, "
        "run, schedule run and cancel.",
    )
    name = forms.CharField(
        max_length=token_limits.MAX_NAME_LENGTH,
        widget=forms.TextInput({**INPUT, **PLAIN}),
        help_text="For you to recognize it by, such as “nightly CI”.",
    )
    lifetime = forms.ChoiceField(
        label="Expires after",
        choices=LIFETIMES,
        initial="30",
        widget=forms.RadioSelect,
        help_text="At most one year. Policies can require less.",
    )
    until = forms.DateField(
        label="Last day",
        required=False,
        widget=forms.DateInput({**INPUT, "type": "date"}, format="%Y-%m-%d"),
        help_text="For “until a date” only. The token is valid to the end of this day.",
    )
    reads_trail = forms.BooleanField(
        label="Reads the whole audit trail",
        required=False,
        help_text="For a system that collects it. Counts as long as you can read the audit trail yourself.",
    )
    networks = forms.CharField(
        label="Allowed networks",
        required=False,
        max_length=2000,
        widget=forms.Textarea({**INPUT, **PLAIN, "class": "portal-input portal-code", "rows": 3}),
        help_text="Addresses and networks from which it can be used, one on each line, such as 10.0.0.0/8. "
        "Blank = from anywhere.",
    )

    def __init__(self, person: User, data: Any = None, initial: Any = None) -> None:
        super().__init__(data, initial={"account": person.pk, **(initial or {})}, use_required_attribute=False)
        self.accounts = accounts_of(person)
        if not rule_changes.can_read_trail(person):
            del self.fields["reads_trail"]
        self.fields["account"].queryset = self.accounts  # type: ignore[attr-defined]  # a model's choices
        self.fields["agent"].queryset = Agent.objects.filter(owner=person)  # type: ignore[attr-defined]  # a model's choices

    def clean_name(self) -> str:
        return sanitize(self.cleaned_data["name"].strip())

    def clean_networks(self) -> list[str]:
        lines: list[str] = self.cleaned_data["networks"].splitlines()
        try:
            return token_limits.parse_networks(lines)
        except Refused as refusal:
            raise forms.ValidationError(refusal.message, refusal.code) from refusal

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        if values.get("lifetime") == DATE and "until" in values:
            until, last = values["until"], timezone.localdate() + token_limits.LONGEST
            if not until:
                self.add_error("until", forms.ValidationError("Choose the last day.", "required"))
            elif until > last:
                message = f"Choose a day up to {last:%d %b %Y}."
                self.add_error("until", forms.ValidationError(message, "token.expiry"))
        return values

    def expires_at(self) -> datetime:
        now = timezone.now()
        if self.cleaned_data["lifetime"] != DATE:
            return now + timedelta(days=int(self.cleaned_data["lifetime"]))
        end = timezone.make_aware(datetime.combine(self.cleaned_data["until"], time.max))
        # The last day that can be chosen ends later than a token may.
        return min(end, now + token_limits.LONGEST)

    def newest_token(self) -> int:
        """Return the key of the newest token of these accounts: what the page knew when it was opened."""
        return double_submit.newest(Token.objects.filter(user__in=self.accounts))

    def is_repeated(self) -> bool:
        """Return whether the form was sent before: the account has a newer token of that name than the page knew."""
        values = self.cleaned_data
        # Those of CI jobs come by themselves meanwhile.
        rows = Token.objects.filter(user=values["account"], name=values["name"], job_trust=None)
        return double_submit.created_since(rows, self.data.get("newest_token")).exists()

    def refuse(self, refusal: Refused) -> None:
        """Show a refusal of the service at the field that it is about."""
        expiry = "until" if self.cleaned_data.get("lifetime") == DATE else "lifetime"
        field = expiry if refusal.code == "token.expiry" else FIELDS.get(refusal.code)
        self.add_error(field, forms.ValidationError(refusal.message, refusal.code))


class ScopeForm(forms.Form):
    """One scope; a form that was left blank is none."""

    verbs = forms.MultipleChoiceField(
        label="Permissions",
        required=False,
        choices=[(verb.value, verb.label) for verb in token_limits.VERBS],
        widget=forms.CheckboxSelectMultiple,
    )
    environment = forms.ModelChoiceField(
        Environment.objects.none(),
        required=False,
        empty_label="all that are not protected",
        widget=forms.Select(INPUT),
        help_text="Select a protected environment explicitly.",
    )
    flow_name = text("Flow", 300, "Blank = all flows.", "flow-names")
    full_name = text("Deployment", 601, "flow name/deployment name. Blank = all deployments.", "full-names")
    tag = text("Tag", 300, "Only deployments with this tag. Blank = any tags.", "tags")
    predicate = forms.CharField(
        label="Parameter values",
        required=False,
        max_length=predicates.LONGEST,
        widget=forms.Textarea({**INPUT, **PLAIN, "class": "portal-input portal-code", "rows": 3}),
        help_text="A JSON Schema that the parameters of a run must satisfy. Blank = any values.",
    )

    def __init__(self, *args: Any, environments: QuerySet[Environment], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["environment"].queryset = environments  # type: ignore[attr-defined]  # a model's choices

    def clean_predicate(self) -> dict[str, Any] | None:
        return read_condition(self.cleaned_data["predicate"])

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        if not self.errors:
            # Checked here as well as in the service, which does not say which of the scopes it is about.
            try:
                token_limits.require_usable(TokenScope(**values))
            except Refused as refusal:
                field = "verbs" if refusal.code == "token.scope" else "predicate"
                self.add_error(field, forms.ValidationError(refusal.message, refusal.code))
        return values

    def verb_groups(self) -> list[tuple[str, list[VerbLine]]]:
        return verb_groups(self["verbs"])

    def is_open(self) -> bool:
        """Return whether the page shows the row unfolded."""
        return self.prefix == "scopes-0" or bool(self.is_bound and self.has_changed())


class Scopes(forms.BaseFormSet):  # type: ignore[type-arg]  # Django's class takes no argument when it runs
    """The rows of scopes, of which those that were left blank are none."""

    def __init__(self, environments: QuerySet[Environment], data: Any = None) -> None:
        super().__init__(data, prefix="scopes", form_kwargs={"environments": environments})

    def clean(self) -> None:
        if not any(self.errors) and not self.rows():
            raise forms.ValidationError("Give the token at least one scope.", "token.scope")

    def rows(self) -> list[TokenScope]:
        """Return the scopes that were filled in, unsaved."""
        return [TokenScope(**form.cleaned_data) for form in self.forms if form.has_changed()]


ScopeFormSet: Any = forms.formset_factory(
    ScopeForm, formset=Scopes, extra=ROWS, max_num=token_limits.MOST_SCOPES, absolute_max=token_limits.MOST_SCOPES
)


def accounts_of(person: User) -> QuerySet[User]:
    """Return the accounts for which a person can create tokens: their own and their service accounts."""
    own = Q(pk=person.pk) | Q(service_account__owner=person)
    rows = User.objects.filter(own, is_active=True).select_related("service_account")
    # Oneself first.
    return rows.order_by(F("service_account").asc(nulls_first=True), "username")


def environments_of(accounts: Iterable[User]) -> QuerySet[Environment]:
    """Return the environments that any of the accounts can see: a scope in another one would allow nothing."""
    visible = [Permissions.of_person(user).environments() for user in accounts]
    return Environment.objects.filter(pk__in={environment.pk for each in visible for environment in each})
