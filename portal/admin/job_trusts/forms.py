"""The form of a new trusted job: its account, its life, and what its job token must say."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib.auth.models import User

from flows.db_text import sanitize
from portal.admin.tokens.forms import DATE, INPUT, PLAIN, TokenForm
from runs.errors import Refused
from runs.governance import job_claims, job_trusts

# provider -> its label, and field of the form -> its claim
PROVIDERS: dict[str, tuple[str, dict[str, str]]] = {
    "github": (
        "GitHub Actions",
        {
            "repository": "repository",
            "repository_id": "repository_id",
            "ref": "ref",
            "environment": "environment",
            "is_ref_protected": job_claims.PROTECTED,
        },
    ),
    "gitlab": (
        "GitLab CI",
        {
            "repository": "project_path",
            "repository_id": "project_id",
            "ref": "ref",
            "environment": "environment",
            "is_ref_protected": job_claims.PROTECTED,
        },
    ),
}
# Code of a refusal -> the field it is about.
FIELDS = {
    "token.name_required": "name",
    "job_trust.not_own": "account",
    "job_trust.issuer": "issuer",
    "job_trust.audience": "audience",
    "job_trust.minutes": "token_minutes",
    "job_trust.repository": "repository",
    "job_trust.same": "repository",
    "job_trust.unlimited": "ref",
}
CODE = {**INPUT, **PLAIN, "class": "portal-input portal-code"}


def line(label: str, help_text: str) -> forms.CharField:
    return forms.CharField(
        label=label,
        required=False,
        max_length=job_claims.LONGEST_TEXT,
        widget=forms.TextInput(CODE),
        help_text=help_text,
    )


class JobTrustForm(TokenForm):
    """The arguments of `job_trusts.create` but for the scopes."""

    provider = forms.ChoiceField(
        choices=[(name, label) for name, (label, _) in PROVIDERS.items()], initial="github", widget=forms.RadioSelect
    )
    issuer = forms.ChoiceField(
        widget=forms.Select(INPUT),
        help_text="Who signs the job tokens. The operator of the portal decides which can be chosen.",
    )
    audience = forms.CharField(
        max_length=job_trusts.LONGEST_AUDIENCE,
        widget=forms.TextInput(CODE),
        help_text="Job tokens that were made for anything else are refused. Usually the address of the portal.",
    )
    token_minutes = forms.IntegerField(
        label="Minutes that a token is valid",
        min_value=1,
        max_value=job_trusts.MOST_MINUTES,
        initial=job_trusts.USUAL_MINUTES,
        widget=forms.NumberInput(INPUT),
        help_text=f"At most {job_trusts.MOST_MINUTES}. The client gets another one when a job takes longer.",
    )
    repository = line("Repository", "As owner/name or group/project, exactly. A * is not accepted here.")
    repository_id = line("Repository id", "Its number. A name can pass to another repository later, a number never.")
    ref = line(
        "Branch or tag",
        "GitHub: refs/heads/main or refs/tags/v*. GitLab: main. Each * stands for one or more characters other than / "
        "and :, so refs/heads/* fits every branch without a slash in its name. Blank = any, including branches of "
        "anyone who can push.",
    )
    environment = line("Deployment environment", "Of GitHub or GitLab, such as production. Blank = any or none.")
    is_ref_protected = forms.BooleanField(
        label="Protected branches and tags only",
        required=False,
        help_text="Requires ref_protected = true: what not everyone who can push can change.",
    )
    others = forms.CharField(
        label="Other claims",
        required=False,
        max_length=4000,
        widget=forms.Textarea({**CODE, "rows": 3}),
        help_text="One on each line, such as event_name = push or job_workflow_ref = "
        "owner/name/.github/workflows/deploy.yml@refs/heads/main.",
    )

    def __init__(self, person: User, data: Any = None, initial: Any = None) -> None:
        super().__init__(person, data, {"audience": settings.PUBLIC_URL.rstrip("/"), **(initial or {})})
        del self.fields["networks"]
        self.accounts = self.accounts.exclude(pk=person.pk)
        self.fields["account"].queryset = self.accounts  # type: ignore[attr-defined]  # a model's choices
        self.fields["account"].help_text = "A service account that you own. Jobs act as it, within the scopes below."
        self.fields["issuer"].choices = [(each, each) for each in settings.JOB_ISSUERS]  # type: ignore[attr-defined]
        self.fields["lifetime"].help_text = "The trust ends then. At most one year. Policies can require less."

    def clean_others(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for each in filter(None, map(str.strip, self.cleaned_data["others"].splitlines())):
            name, equals, text = each.partition("=")
            if not equals or name.strip() in found:
                raise forms.ValidationError("Write each claim once, as claim = text.", "job_trust.claims")
            found[name.strip()] = text.strip()
        return found

    def claims(self) -> dict[str, str]:
        """Return claim -> what it must be; raises `Refused` for a claim that is given twice."""
        values = self.cleaned_data
        _, names = PROVIDERS[values["provider"]]
        typed = {names[field]: sanitize(str(values[field]).strip()) for field in names if values[field]}
        if values["is_ref_protected"]:
            typed[job_claims.PROTECTED] = "true"
        if twice := typed.keys() & values["others"].keys():
            raise Refused("job_trust.claims", f"Give each claim once: {', '.join(sorted(twice))} has a field above.")
        return {**typed, **values["others"]}

    def refuse(self, refusal: Refused) -> None:
        """Show a refusal of the service at the field that it is about."""
        expiry = "until" if self.cleaned_data.get("lifetime") == DATE else "lifetime"
        field = expiry if refusal.code == "token.expiry" else FIELDS.get(refusal.code)
        if refusal.code == "job_trust.claims":
            _, names = PROVIDERS[self.cleaned_data["provider"]]
            by_claim = {claim: name for name, claim in names.items()}
            field = by_claim.get(refusal.data.get("claim", ""), "others")
        self.add_error(field, forms.ValidationError(refusal.message, refusal.code))
