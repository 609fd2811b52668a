"""A browser without JavaScript for the smoke test: pages, their forms, and cookies."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urlsplit

import httpx


@dataclass(slots=True)
class Form:
    """A form with the values that a browser would send unchanged."""

    action: str
    fields: dict[str, str] = field(default_factory=dict)

    def name_of(self, ending: str) -> str:
        """Return the only field of this name or with this ending; raises `LookupError`."""
        # By ending, because parameters have a prefix in the run form.
        found = [name for name in self.fields if name == ending or name.endswith(f"-{ending}")]
        if len(found) != 1:
            raise LookupError(f"the form of {self.action} has {len(found)} fields {ending}, not one")
        return found[0]


class _Reader(HTMLParser):
    """Collects the forms of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self._open: Form | None = None
        self._select = self._textarea = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        name = given.get("name", "")
        if tag == "form":
            self._open = Form(given.get("action", ""))
            self.forms.append(self._open)
        elif self._open is None:
            return
        elif tag == "input" and name and given.get("type") not in {"submit", "button", "file"}:
            # Unchecked boxes are not sent; a checked one without a value sends "on".
            chosen = given.get("type") not in {"radio", "checkbox"} or "checked" in given
            if chosen:
                self._open.fields[name] = given.get("value", "on" if given.get("type") == "checkbox" else "")
        elif tag == "select":
            self._select = name
        elif tag == "option" and self._select:
            # Without a selected one, a browser takes the first.
            if "selected" in given or self._select not in self._open.fields:
                self._open.fields[self._select] = given.get("value", "")
        elif tag == "textarea":
            self._textarea = name
            self._open.fields[name] = ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = None
        elif tag == "select":
            self._select = ""
        elif tag == "textarea":
            self._textarea = ""

    def handle_data(self, data: str) -> None:
        if self._open and self._textarea:
            self._open.fields[self._textarea] += data


@dataclass(frozen=True, slots=True)
class Page:
    """A response, and the forms in it."""

    browser: "Browser" = field(repr=False)
    answer: httpx.Response

    @property
    def address(self) -> str:
        return urlsplit(str(self.answer.url)).path

    @property
    def status(self) -> int:
        return self.answer.status_code

    @property
    def html(self) -> str:
        return self.answer.text

    def form(self, action: str) -> Form:
        """Return the form with this action; a form without one is sent to its own page. Raises `LookupError`."""
        reader = _Reader()
        reader.feed(self.html)
        for form in reader.forms:
            if (urlsplit(form.action).path or self.address) == action:
                return form
        raise LookupError(f"{self.address} (HTTP {self.status}) has no form for {action}")

    def send(self, action: str, **values: str) -> "Page":
        """Submit a form with these fields filled in and the others unchanged."""
        form = self.form(action)
        filled = form.fields | {form.name_of(ending): value for ending, value in values.items()}
        return self.browser.post(action, filled, referer=str(self.answer.url))


class Browser:
    """The session of one user."""

    def __init__(self, address: str) -> None:
        self._client = httpx.Client(base_url=address, follow_redirects=True, trust_env=False, timeout=20)

    def get(self, path: str) -> Page:
        return Page(self, self._client.get(path))

    def post(self, path: str, values: dict[str, str], *, referer: str) -> Page:
        # Django checks the Referer of secure POSTs against CSRF.
        return Page(self, self._client.post(path, data=values, headers={"Referer": referer}))

    def close(self) -> None:
        self._client.close()
