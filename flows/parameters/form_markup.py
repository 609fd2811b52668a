"""The HTML of a parameter form and of its parts."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from django.utils.safestring import SafeString

from flows.parameters.earlier_values import EarlierNote
from flows.parameters.form_fields import AnyPart, Group, Leaf, Rows
from flows.parameters.form_part import FormPart, Input, PartError
from flows.parameters.markup import element, hidden, joined
from flows.parameters.widgets import Tick, Ticks, labelled

EMPTY = SafeString()
NO_PARAMETERS = "This deployment has no parameters."
SMALL_BUTTON = "portal-button is-small"


def render_form(
    parts: Collection[AnyPart],
    wrong: Collection[FormPart],
    general: Collection[PartError],
    notices: Iterable[str],
    summary: str,
    earlier: Mapping[str, EarlierNote],
) -> SafeString:
    """Render the errors that belong to no input, links to the others, notices, and the parts.

    `earlier` are the notes beside parts, by name.
    """
    above = [element("ul", {"role": "alert", "class": "portal-errors"}, *map(_error, general))] if general else []
    if wrong:
        links = [element("a", {"href": f"#{part.id}"}, part.label) for part in wrong]
        linked = joined(*(each for link in links for each in (", ", link)))[2:]
        alert = {"role": "alert", "data-error-count": len(wrong), "class": "portal-errors"}
        above.append(element("p", alert, f"{summary} ", SafeString(linked)))
    above += [element("p", {"data-notice": True}, notice) for notice in notices]
    if not parts and not general:
        above.append(element("p", {}, NO_PARAMETERS))
    return element("div", {"class": "portal-parameters"}, *above, *(_compared(part, earlier) for part in parts))


def _compared(part: AnyPart, earlier: Mapping[str, EarlierNote]) -> SafeString:
    """Render a part with what an earlier run had; run_form.js shows the note as soon as the part is edited."""
    note = earlier.get(str(part.path[0]))
    if note is None:
        return render_part(part)
    shown = {"class": "portal-earlier", "data-earlier": "differs" if note.differs else "same"}
    words = (f"{note.title}: ", element("span", {"class": "portal-code"}, note.text))
    return element("div", {}, render_part(part), element("p", {**shown, "hidden": not note.differs}, *words))


def render_part(part: AnyPart) -> SafeString:
    if isinstance(part, Leaf):
        return _leaf(part)
    return _group(part) if isinstance(part, Group) else _rows(part)


def _leaf(part: Leaf) -> SafeString:
    words, described_by = _words(part)
    state: dict[str, Any] = {
        "aria-describedby": described_by,
        "aria-invalid": "true" if part.errors else None,
        "autofocus": part.has_focus,
    }
    control, control_id = part.input.render(**state), part.input.id
    if isinstance(part.input.widget, Ticks):
        entry = element("fieldset", {"aria-describedby": described_by}, element("legend", {}, *_label(part)), control)
    elif isinstance(part.input.widget, Tick):
        entry = labelled(control, control_id, *_label(part))
    else:
        label = element("label", {"for": control_id}, *_label(part))
        entry = joined(label, control, _suggestions(part.input, part.suggestions), _finder(part))
    empty = _tick(part.empty, "data-empty") if part.empty else EMPTY
    return element(
        "div", {"class": "portal-field", "id": f"{part.id}-field" if part.finder else None}, entry, empty, words
    )


def _group(part: Group) -> SafeString:
    words, described_by = _words(part)
    return element(
        "fieldset",
        {"id": part.id, "class": "portal-group", "data-switched": bool(part.switch), "aria-describedby": described_by},
        element("legend", {}, *_label(part)),
        _tick(part.switch, "data-switch") if part.switch else EMPTY,
        words,
        element(
            "div", {"class": "portal-parameters", "data-children": True}, *map(render_part, part.children.values())
        ),
    )


def _rows(part: Rows) -> SafeString:
    words, described_by = _words(part)
    add = {"class": SMALL_BUTTON, "type": "submit", "name": f"{part.html_name}-add", "value": "true"}
    noun = (f"Add {part.noun}", element("span", {"class": "portal-hidden"}, f" to {part.label}"))
    return element(
        "fieldset",
        {"id": part.id, "class": "portal-group", "data-rows": True, "aria-describedby": described_by},
        element("legend", {}, *_label(part)),
        words,
        hidden(f"{part.html_name}-rows", ""),
        element(
            "div",
            {"class": "portal-parameters", "data-rows-list": True},
            *(_row(part, index, row) for index, row in part.rows.items()),
        ),
        _tick(part.empty, "data-rows-empty") if part.empty else EMPTY,
        EMPTY if part.is_full else element("button", {**add, "formnovalidate": True, "data-row-add": True}, *noun),
    )


def _row(part: Rows, index: int, row: AnyPart) -> SafeString:
    is_added = index == part.added
    remove = {"class": SMALL_BUTTON, "type": "submit", "name": f"{part.html_name}-remove", "value": index}
    return element(
        "div",
        {
            "data-row": row.label,
            "data-row-added": is_added,
            "tabindex": "-1" if is_added else None,
            "autofocus": is_added,
        },
        hidden(f"{part.html_name}-rows", str(index)),
        render_part(row),
        element(
            "button",
            {**remove, "formnovalidate": True, "data-row-remove": True},
            "Remove",
            element("span", {"class": "portal-hidden"}, f" {row.label}"),
        ),
    )


def _label(part: FormPart) -> tuple[str, ...]:
    star = element("span", {"class": "portal-required", "aria-hidden": "true"}, "*")
    return (part.label, star) if part.has_star else (part.label,)


def _suggestions(one: Input, suggestions: Iterable[Any]) -> SafeString:
    """Return the list that an input names; the form's script fills it while typing."""
    if "list" not in one.widget.attributes:
        return EMPTY
    options = [element("option", {"value": suggestion}) for suggestion in suggestions]
    return element("datalist", {"id": one.widget.attributes["list"]}, *options)


def _finder(part: Leaf) -> SafeString:
    finder = part.finder
    if finder is None:
        return EMPTY
    one, to_list = finder.input, element("span", {"class": "portal-hidden"}, f" to {part.label}")
    add = {"class": SMALL_BUTTON, "type": "submit", "name": finder.button, "value": "true", "formnovalidate": True}
    return element(
        "div",
        {"class": "portal-finder"},
        element("label", {"for": one.id}, one.label, element("span", {"class": "portal-hidden"}, f" for {part.label}")),
        one.render(autofocus=finder.is_used, **{"aria-describedby": f"{one.id}-found" if finder.term else None}),
        _suggestions(one, finder.suggestions),
        element("button", {**add, "data-choice-add": True}, "Add", to_list),
        element("p", {"id": f"{one.id}-found", "class": "portal-help", "data-found": True}, finder.sentence)
        if finder.term
        else EMPTY,
    )


def _tick(tick: Input, attribute: str) -> SafeString:
    return labelled(tick.render(), tick.id, tick.label, **{attribute: True})


def _words(part: FormPart) -> tuple[SafeString, str | None]:
    """Return the errors and the help of a part, and their ids for `aria-describedby`."""
    found, ids = [], []
    if help_text := part.help:
        ids.append(f"{part.id}_help")
        found.append(element("p", {"id": ids[-1], "class": "portal-help"}, help_text))
    if part.errors:
        ids.append(f"{part.id}_errors")
        found.insert(0, element("ul", {"id": ids[-1], "class": "portal-errors"}, *map(_error, part.errors)))
    return joined(*found), " ".join(ids) or None


def _error(error: PartError) -> SafeString:
    return element("li", {"data-code": error.code}, error.message)
