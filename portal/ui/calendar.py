"""Windows and freezes on pages: whether runs are allowed now, when next, and a chart of the next two weeks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

from django.utils import timezone
from django.utils.safestring import SafeString

from flows.models import Environment
from portal.ui import charts
from portal.ui.rule_labels import Badge
from runs.access.decisions import Permissions, Target, matches
from runs.governance import freezes, windows
from runs.governance.requirements import applicable, visible
from runs.governance.windows import Calendar, Span
from runs.models import Freeze, Policy, Window

AHEAD = timedelta(days=14)
OPENINGS, MOST_ROWS, MOST_NAMES = 5, 60, 5
# effect of a window -> colour, and its label inside and outside the window
LABELS = {
    Window.Effect.ALLOW: ("green", "Runs allowed", "Runs held"),
    Window.Effect.DENY: ("red", "Runs blocked", "Runs allowed"),
}


@dataclass(frozen=True, slots=True)
class Interval:
    """One row of the table twin of the chart."""

    what: str
    tone: str
    begins: str
    ends: str


@dataclass(frozen=True, slots=True)
class CalendarPicture:
    svg: SafeString
    rows: list[Interval]
    more: int
    time_zone: str


@dataclass(frozen=True, slots=True)
class NextOpening:
    """The next time a window starts: `there` in its own time zone, `here` in the portal's."""

    at: datetime
    there: str
    here: str
    ends: str


@dataclass(frozen=True, slots=True)
class EnvironmentWindows:
    """One environment on the overview; `sentence` says why runs are held, and is empty when they are not."""

    freeze: Freeze | None
    sentence: str


@dataclass(frozen=True, slots=True)
class ApplicableRules:
    """Deployments with the same rules, and whether their runs may start now."""

    names: list[str]
    more: int
    windows: list[Window]
    policies: list[Policy]
    now: Badge
    sentence: str


def statuses(environments: Sequence[Environment], moment: datetime) -> dict[int, EnvironmentWindows]:
    """Return for each environment id whether runs are held, by the windows that apply to all of it; two queries."""
    # A window for a flow, deployment or tag holds only some runs: the overview must not claim that all are held.
    rows = list(Window.objects.filter(is_active=True, flow_name="", full_name="", tag="").select_related("environment"))
    frozen = {freeze.environment_id: freeze for freeze in freezes.frozen_now(*environments)}
    found = {}
    for environment in environments:
        freeze, target = frozen.get(environment.pk), Target.whole(environment)
        # Without freezes: the overview shows those as banners of their own.
        calendar = Calendar(tuple(row for row in rows if matches(row, target)), ())
        found[environment.pk] = EnvironmentWindows(freeze, calendar.at(moment).sentence)
    return found


def clock(moment: datetime, zone: tzinfo) -> str:
    return f"{moment.astimezone(zone):%a %d %b %Y, %H:%M %Z}"


def now_of(window: Window, moment: datetime) -> tuple[Badge, datetime | None]:
    """Return a window's label at a moment, and when it changes; None if never."""
    if not window.is_active:
        return Badge("Off", "grey"), None
    is_open, changes_at = windows.hours(window, moment)
    tone, while_open, otherwise = LABELS[Window.Effect(window.effect)]
    if is_open:
        return Badge(while_open, tone), changes_at
    return Badge(otherwise, "amber" if window.effect == Window.Effect.ALLOW else "grey"), changes_at


def openings(window: Window, moment: datetime) -> list[NextOpening]:
    there, here = ZoneInfo(window.time_zone), timezone.get_current_timezone()
    return [
        NextOpening(start, clock(start, there), clock(start, here), clock(windows.end_of(window, start), there))
        for start in windows.next_starts(window, moment, OPENINGS)
    ]


def picture_of(window: Window, freezes: Iterable[Freeze], moment: datetime) -> CalendarPicture:
    """Return the chart of one window for the next two weeks, in its own time zone."""
    tone, while_open, _ = LABELS[Window.Effect(window.effect)]
    until = moment + AHEAD
    found = [(while_open, tone, windows.spans(window, moment, until)), *frozen(freezes, moment, until)]
    return picture(f"{window} in the next two weeks", found, moment, ZoneInfo(window.time_zone))


def picture_of_environment(
    environment: Environment, calendar: Calendar, rows: Sequence[Window], moment: datetime
) -> CalendarPicture:
    """Return the chart of an environment: when runs are allowed in general, its freezes, and each window by itself."""
    until = moment + AHEAD
    found: list[tuple[str, str, list[Span]]] = [
        ("Runs allowed unless a narrower window applies", "green", calendar.open_spans(moment, until)),
        *frozen(calendar.freezes, moment, until),
    ]
    for row in rows:
        tone, while_open, _ = LABELS[Window.Effect(row.effect)]
        # Green is kept for the first lane, the sum of all rules: an open window alone does not let a run start.
        tone = "blue" if tone == "green" else tone
        found.append((f"{row}: {while_open.lower()}", tone, windows.spans(row, moment, until)))
    title = f"Calendar of {environment} for the next two weeks"
    return picture(title, found, moment, timezone.get_current_timezone())


def frozen(freezes: Iterable[Freeze], moment: datetime, until: datetime) -> list[tuple[str, str, list[Span]]]:
    spans = [
        (moment, min(freeze.until or until, until)) for freeze in freezes if not freeze.until or freeze.until > moment
    ]
    return [("Frozen", "amber", spans)] if spans else []


def picture(title: str, found: Sequence[tuple[str, str, list[Span]]], since: datetime, zone: tzinfo) -> CalendarPicture:
    """Draw `found`, lanes of (label, tone, spans), from `since` for two weeks; times are labelled in `zone`."""
    # 1. The table twin: exact times, also for screen readers.
    rows = [
        Interval(label, tone, clock(start, zone), clock(close, zone))
        for label, tone, spans in found
        for start, close in spans
    ]
    # 2. The lanes, with spans as shares of the two weeks.
    lanes = [
        charts.Lane(
            label,
            tuple(
                charts.Band(
                    share(start, since), share(close, since), tone, f"{clock(start, zone)} to {clock(close, zone)}"
                )
                for start, close in spans
            ),
        )
        for label, tone, spans in found
    ]
    # 3. A line at each midnight. A window that starts every few minutes has thousands of spans, so the table is cut.
    marks = [(share(midnight, since), f"{midnight:%d %b}") for midnight in midnights(since, zone)]
    return CalendarPicture(
        charts.lanes(title, lanes, marks), rows[:MOST_ROWS], max(len(rows) - MOST_ROWS, 0), str(zone)
    )


def share(moment: datetime, since: datetime) -> float:
    """Return where a moment lies in the chart, from 0 to 1."""
    return (moment - since) / AHEAD


def midnights(since: datetime, zone: tzinfo) -> list[datetime]:
    # Each midnight is built from its date: adding 24 hours would drift by one where clocks change.
    first = since.astimezone(zone).date()
    days = (datetime.combine(first + timedelta(days=day), time(), zone) for day in range(1, AHEAD.days + 1))
    return [day for day in days if day < since + AHEAD]


def applicable_rules_of(environment: Environment, permissions: Permissions, moment: datetime) -> list[ApplicableRules]:
    """Return the rules of every deployment that the reader may see, grouped by equal sets of rules.

    Only rules that the reader may see are listed, so the status can differ from that of a launch, which applies all.
    """
    # 1. Load the rules once. Matching in Python costs no query per deployment.
    rows = visible(
        Window.objects.filter(applicable(environment), is_active=True).select_related("environment"), permissions
    )
    rules = visible(Policy.objects.filter(applicable(environment)).select_related("environment"), permissions)
    freezes = tuple(environment.freezes.filter(lifted_at=None))
    # 2. Group the names by the rules that apply to them.
    together: dict[tuple[tuple[int, ...], tuple[int, ...]], list[str]] = {}
    seen = permissions.deployments().filter(environment=environment, deleted_upstream_at=None).order_by("full_name")
    for deployment in seen:
        target = Target.of(deployment)
        key = (
            tuple(row.pk for row in rows if matches(row, target)),
            tuple(rule.pk for rule in rules if matches(rule, target)),
        )
        together.setdefault(key, []).append(str(deployment))
    # 3. Look at the calendar once for each group, not for each deployment.
    return [
        applicable_rules(
            names,
            [row for row in rows if row.pk in key[0]],
            [rule for rule in rules if rule.pk in key[1]],
            freezes,
            moment,
        )
        for key, names in together.items()
    ]


def applicable_rules(
    names: list[str], rows: list[Window], rules: list[Policy], freezes: tuple[Freeze, ...], moment: datetime
) -> ApplicableRules:
    standing = Calendar(tuple(rows), freezes).at(moment)
    badge = Badge("Runs allowed", "green") if standing else Badge("Runs held", "amber")
    return ApplicableRules(names[:MOST_NAMES], max(len(names) - MOST_NAMES, 0), rows, rules, badge, standing.sentence)
