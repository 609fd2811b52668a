"""What page tests assert instead of sentences: codes of messages and form errors, data attributes, buttons."""

from __future__ import annotations

import re
from typing import Any


def message_codes(answer: Any) -> list[str]:
    """The messages of a page, each as the code of its refusal or, without one, its level such as "success"."""
    return [each.extra_tags or each.level_tag for each in answer.context["messages"]]


def error_codes(form: Any) -> dict[str, list[str]]:
    """field -> the codes of its errors."""
    return {field: [str(each.code) for each in errors] for field, errors in form.errors.as_data().items()}


def form_errors(answer: Any) -> set[tuple[str, str]]:
    """Return the fields and codes of the errors in the form of a page; "__all__" for errors of the whole form."""
    # Django's own change form wraps its form in `adminform`; the portal's pages pass theirs as `form`.
    form = answer.context["adminform"].form if "adminform" in answer.context else answer.context["form"]
    return {(field, code) for field, codes in error_codes(form).items() for code in codes}


def refusal_codes(answer: Any) -> set[str]:
    """Return the codes of the messages on a page; messages of success have none."""
    return {message.extra_tags for message in answer.context["messages"]} - {""}


def attributes(page: str, name: str) -> list[str]:
    """The values of an attribute, in the order of the page."""
    return re.findall(rf'\s{name}="([^"]*)"', page)


def has_button(page: str, key: str) -> bool:
    """Whether the page has the button that opens the form of this key."""
    return f'<details class="portal-ask" data-key="{key}">' in page


def outcomes(answer: Any) -> list[str]:
    """What became of each selected run: the code of its refusal, or the word of the result."""
    return attributes(answer.content.decode(), "data-outcome")
