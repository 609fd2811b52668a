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


def attributes(page: str, name: str) -> list[str]:
    """The values of an attribute, in the order of the page."""
    return re.findall(rf'\s{name}="([^"]*)"', page)


def has_button(page: str, key: str) -> bool:
    """Whether the page has the button that opens the form of this key."""
    return f'<details class="portal-ask" data-key="{key}">' in page
