"""The main job as people do it: in a browser, against real processes. No page may report an error."""

from __future__ import annotations

import contextlib
import re
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.e2e.browser_actions import (
    Visitor,
    act,
    cancel,
    cancellation,
    headline,
    open_browser,
    open_request,
    run_of,
    send,
    sign_in,
)
from tests.e2e.conftest import PASSWORD, Portal, wait_for
from tests.portal import sign_ons

# Milliseconds; starting the process of a flow takes long on a busy machine.
WORK = 240_000
ACQUISITION = "crm-data-acquisition/crm-data-acquisition"
LONG_HAUL = "long-haul/long-haul"
WIDE, NARROW = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
Visit = Callable[..., Visitor]

expect.set_options(timeout=30_000)


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    # Not for the whole session: while Playwright's event loop runs, Django refuses database calls of other tests.
    with open_browser(chromium) as browser:
        yield browser


@pytest.fixture(scope="module")
def signed_in(browser: Browser, portal: Portal) -> Callable[[str], Any]:
    """The cookies of each user, who signs in only once."""
    known: dict[str, Any] = {}

    def state(name: str) -> Any:
        if name not in known:
            visitor = Visitor(browser, portal.address)
            sign_in(visitor.page, portal.address, name, PASSWORD)
            known[name] = visitor.context.storage_state()
            visitor.context.close()
        return known[name]

    return state


@pytest.fixture
def visit(browser: Browser, portal: Portal, signed_in: Callable[[str], Any]) -> Iterator[Visit]:
    """`visit("otto")` opens a window signed in as otto; at the end no window may have reported an error."""
    visitors: list[Visitor] = []

    def open_window(name: str = "", **options: Any) -> Visitor:
        state = {"storage_state": signed_in(name)} if name else {}
        visitors.append(Visitor(browser, portal.address, **{"viewport": WIDE} | state | options))
        return visitors[-1]

    yield open_window
    for visitor in visitors:
        visitor.context.close()
    assert [trouble for visitor in visitors for trouble in visitor.troubles] == []


@pytest.fixture(scope="module", autouse=True)
def deployments(portal: Portal) -> dict[tuple[str, str], int]:
    """(environment, flow/deployment) -> primary key, once both environments are synced."""

    def found() -> dict[tuple[str, str], int]:
        rows = portal.query(
            "SELECT slug, full_name, deployment.id FROM flows_deployment AS deployment "
            "JOIN flows_environment AS environment ON environment.id = environment_id WHERE full_name = ANY(%s)",
            [ACQUISITION, LONG_HAUL],
        )
        return {(slug, name): pk for slug, name, pk in rows} if len(rows) == 4 else {}

    return wait_for(found, "the first sync", 120)


def request_run(visitor: Visitor, deployment: int, **values: str) -> Page:
    """Fill in a run form by its labels and submit it; the page that follows."""
    visitor.goto(f"/admin/flows/deployment/{deployment}/run/")
    send(visitor.page, **values)
    return visitor.page


def mark(page: Page) -> None:
    """Mark the document; a reload would remove the mark."""
    page.evaluate("window.sameDocument = true")


def is_same_document(page: Page) -> bool:
    return bool(page.evaluate("window.sameDocument === true"))


def note_states(page: Page) -> None:
    """Let the page record every text of its headline: some states last only for a moment."""
    page.evaluate(
        """() => {
            const headline = document.querySelector("[data-live=headline]");
            const note = () => window.seen.push(headline.textContent);
            window.seen = [];
            note();
            new MutationObserver(note).observe(headline, {childList: true, subtree: true, characterData: true});
        }"""
    )


def test_an_operator_finds_a_deployment_runs_it_and_watches_it_complete(visit: Visit, portal: Portal) -> None:
    page = visit().page
    sign_in(page, portal.address, "otto", PASSWORD)
    page.get_by_role("link", name="Deployments").click()
    page.get_by_role("searchbox").fill("crm-data-acquisition")
    page.keyboard.press("Enter")
    row = page.get_by_role("row").filter(has=page.get_by_role("cell", name="dev", exact=True))
    row.get_by_role("link", name="Run crm-data-acquisition").click()

    month, run = page.get_by_label("snapshot_month"), page.get_by_role("button", name="Run", exact=True)
    run.click()
    expect(month).to_have_attribute("aria-invalid", "true")
    expect(month).to_have_accessible_description(re.compile("This value is required"))

    month.fill("2017-03")
    run.click()
    # The page of the request leads on to the run as soon as there is one.
    expect(page).to_have_url(re.compile(r"/run/\d+/change/"), timeout=WORK)
    mark(page)
    expect(headline(page)).to_contain_text("Completed", timeout=WORK)
    expect(page.get_by_label("Log lines").get_by_role("listitem").first).to_be_visible()
    expect(page.get_by_text(re.compile("Wrote .+ to "))).to_be_visible()
    assert is_same_document(page)


def test_an_operator_watches_a_long_run_and_cancels_it(visit: Visit, deployments: dict[Any, int]) -> None:
    page = request_run(visit("otto"), deployments["dev", LONG_HAUL], minutes="5")
    run_of(page).click(timeout=WORK)
    expect(headline(page)).to_contain_text("Running", timeout=WORK)
    expect(page.get_by_text(re.compile(r"Step 1 of 4, \d+% done")).first).to_be_visible(timeout=WORK)

    cancel(page, "wrong month")
    expect(cancellation(page)).to_contain_text("wrong month")
    mark(page)
    note_states(page)
    expect(headline(page)).to_contain_text("Cancelled", timeout=WORK)
    seen = [re.search("Running|Cancelling|Cancelled", text) for text in page.evaluate("window.seen")]
    order = list(dict.fromkeys(found[0] for found in seen if found))
    assert order[-2:] == ["Cancelling", "Cancelled"]
    assert is_same_document(page)


def test_requesting_and_cancelling_need_no_script(visit: Visit, portal: Portal, deployments: dict[Any, int]) -> None:
    visitor = visit("otto", java_script_enabled=False)
    page = visitor.page
    tomorrow = f"{datetime.now() + timedelta(days=1):%Y-%m-%dT%H:%M}"  # noqa: DTZ005  (what a person types)
    visitor.goto(f"/admin/flows/deployment/{deployments['dev', LONG_HAUL]}/run/")
    page.get_by_label("minutes").fill("0")
    page.get_by_label("Later").check()
    page.get_by_label("Date and time").fill(tomorrow)
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_label("minutes")).to_have_accessible_description(re.compile("more than 0|greater than 0"))

    page.get_by_label("minutes").fill("5")
    page.get_by_role("button", name="Run", exact=True).click()
    act(page, "withdraw")
    expect(page.locator("[data-moment=closed]")).to_be_visible()
    expect(page.locator("[data-key=withdraw]")).to_have_count(0)

    page.locator("a[href*='?again=']").click()
    page.get_by_label("Now").check()
    page.get_by_role("button", name="Run", exact=True).click()
    open_request(page)
    requested = re.findall(r"/runrequest/(\d+)/", page.url)
    started = "SELECT 1 FROM runs_runrequest WHERE run_id IS NOT NULL AND id = %s"
    wait_for(lambda: portal.query(started, *requested), "the run of the request", 120)
    page.reload()
    run_of(page).click()
    cancel(page, "not needed")
    # If no worker had started it yet, the portal needs half a minute longer to settle the cancellation.
    expect(cancellation(page)).to_contain_text("not needed")
    ended = "SELECT 1 FROM runs_runrequest WHERE state = 'cancelled' AND id = %s"
    wait_for(lambda: portal.query(ended, *requested), "the cancel", 180)
    page.reload()
    expect(headline(page)).to_contain_text("Cancelled")


def test_a_run_in_prod_waits_for_someone_else(visit: Visit, deployments: dict[Any, int]) -> None:
    page = request_run(visit("otto"), deployments["prod", LONG_HAUL], minutes="1.5", reason="The quarter is over")
    expect(headline(page)).to_contain_text("Waiting for approval")
    expect(page.locator("[data-key=withdraw]")).to_be_visible()
    expect(page.locator("[data-key=approve]")).to_have_count(0)
    mark(page)

    approver = visit("anna").page
    approver.goto(page.url)
    parameters = approver.locator("[data-live=parameters]").get_by_role("row").filter(has_text="minutes")
    expect(parameters).to_contain_text("1.5")
    expect(approver.get_by_text("The quarter is over").first).to_be_visible()
    act(approver, "approve")
    expect(approver.locator("[data-moment=approved]")).to_be_visible()

    run_of(page).click(timeout=WORK)
    expect(headline(page)).to_contain_text("Running", timeout=WORK)
    expect(page.locator("[data-live=facts]").get_by_text("Approved by")).to_be_visible()
    cancel(page, "seen enough")
    expect(cancellation(page)).to_contain_text("seen enough")
    expect(headline(page)).to_contain_text("Cancelled", timeout=WORK)


def test_a_viewer_sees_and_starts_nothing(visit: Visit, deployments: dict[Any, int]) -> None:
    visitor = visit("vera")
    page, pk = visitor.page, deployments["dev", LONG_HAUL]
    visitor.goto(f"/admin/flows/deployment/{pk}/change/")
    # The flow is called like the deployment: the name stands once.
    expect(page.get_by_role("heading", name="long-haul", exact=True)).to_be_visible()
    expect(page.locator(f"a[href$='/deployment/{pk}/run/']")).to_have_count(0)
    expect(page.locator("form[action$='/quick-run/']")).to_have_count(0)
    assert visitor.troubles == []

    assert visitor.goto(f"/admin/flows/deployment/{pk}/run/").status == 403
    expect(page.get_by_text("long-haul in dev").last).to_be_visible()
    assert visitor.goto(f"/admin/flows/deployment/{deployments['prod', LONG_HAUL]}/change/").status == 404
    expect(page.locator("body")).not_to_contain_text("long-haul")
    visitor.troubles.clear()


def test_an_auditor_reads_who_requested_and_who_rejected(visit: Visit, deployments: dict[Any, int]) -> None:
    reason = f"month end {uuid.uuid4().hex[:8]}"
    requested = request_run(visit("otto"), deployments["prod", LONG_HAUL], reason=reason)
    answer = visit("anna").page
    answer.goto(requested.url)
    act(answer, "reject", f"{reason}: too late")
    expect(headline(answer)).to_contain_text("Rejected")

    page = visit("axel").page
    page.goto(requested.url)
    page.get_by_role("link", name="Audit trail").click()
    page.get_by_role("searchbox").fill(reason)
    page.keyboard.press("Enter")
    for who, what in (("otto", "Submitted a request"), ("anna", "Rejected a request")):
        expect(page.get_by_role("row").filter(has_text=who).filter(has_text=what)).to_contain_text(reason)

    visitor = visit("otto")
    visitor.goto("/admin/")
    expect(visitor.page.get_by_role("link", name="Audit trail")).to_have_count(0)
    assert visitor.goto("/admin/runs/auditentry/").status == 403
    visitor.troubles.clear()


def test_an_administrator_reads_what_is_wrong_with_an_address(visit: Visit) -> None:
    visitor = visit("ada")
    page, name = visitor.page, f"nowhere-{uuid.uuid4().hex[:6]}"
    visitor.goto("/admin/flows/environment/add/")
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("API URL").fill("http://127.0.0.1:9/api")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_role("button", name="Test connection").click()
    expect(page.locator("[data-test=failed]")).to_contain_text("http://127.0.0.1:9/api", timeout=WORK)
    health = page.locator("[data-live=health]")
    expect(health).to_contain_text("Unreachable", timeout=WORK)
    expect(health).to_contain_text("http://127.0.0.1:9/api")
    expect(health).to_contain_text("server is running")

    page.get_by_role("link", name="Delete").click()
    page.get_by_role("button", name=re.compile("Yes, I.m sure")).click()
    expect(page.get_by_text(f"{name}: deleted.")).to_be_visible()


def test_a_double_click_makes_one_request(visit: Visit, portal: Portal, deployments: dict[Any, int]) -> None:
    visitor, name, sent = visit("otto"), f"twice-{uuid.uuid4().hex[:8]}", []
    page = visitor.page

    def send_twice(route: Route) -> None:
        # Chromium swallows the second click; other browsers, and proxies that try again, do not.
        if route.request.method == "POST":
            sent.append(route.fetch(max_redirects=0).status)
        route.continue_()

    visitor.goto(f"/admin/flows/deployment/{deployments['prod', LONG_HAUL]}/run/")
    page.get_by_label("Reason").fill("a nervous finger")
    page.get_by_label("Run name").fill(name)
    page.locator("form.portal-columns button.is-primary").click()
    page.locator("#confirmation").fill("long-haul")
    page.route("**/run/", send_twice)
    page.locator("form:has(#confirmation) button.is-primary").dblclick()
    expect(page).to_have_url(re.compile(r"/runrequest/\d+/change/"))
    assert set(sent) == {302}
    requested = "SELECT count(*) FROM runs_runrequest r JOIN runs_runspec s ON s.id = r.spec_id WHERE s.run_name = %s"
    assert portal.query(requested, name) == [(1,)]


@pytest.mark.parametrize(("has_script", "scheme"), [(True, "dark"), (False, "light")])
def test_an_administrator_made_by_command_forgets_the_password(
    visit: Visit, portal: Portal, has_script: bool, scheme: str
) -> None:
    name = f"grace-{uuid.uuid4().hex[:6]}"
    email = f"{name}@portal.example"
    visitor = visit(java_script_enabled=has_script, color_scheme=scheme)
    page = visitor.page
    # 1. The demo prints its emails: this one on the command's own output, the next in the log of the background tasks.
    printed = portal.manage("new_administrator", name, "--reason", "ada left", "--email", email)
    choose_password(visitor, links_in(printed)[0], "first-horse-battery")
    sign_in(page, portal.address, name, "first-horse-battery")
    # The page asks for news by itself: it is closed before its session is gone.
    page.goto("about:blank")
    page.context.clear_cookies()
    # 2. Forgotten.
    must_fit(visitor, "/admin/login/")
    page.get_by_role("link", name=re.compile("Forgotten your password")).click()
    must_fit(visitor, page.url.removeprefix(visitor.address))
    page.get_by_label("Email").fill(email)
    page.get_by_role("button", name="Send link").click()
    must_fit(visitor, page.url.removeprefix(visitor.address))
    log = portal.folder / "qcluster.log"
    (link, *_) = wait_for(lambda: links_in(log.read_text().partition(f"To: {email}")[2]), "the email")
    choose_password(visitor, link, "second-horse-battery")
    sign_in(page, portal.address, name, "second-horse-battery")
    # 3. Used.
    must_fit(visitor, link)
    expect(page.locator("[data-link=refused]")).to_be_visible()


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_an_account_is_connected_on_the_profile_and_opened_by_the_provider(
    visit: Visit, portal: Portal, scheme: str
) -> None:
    name = f"grace-{uuid.uuid4().hex[:6]}"
    email = f"{name}@portal.example"
    visitor = visit(color_scheme=scheme)
    page = visitor.page
    # The provider's page wants a style sheet from elsewhere.
    page.route(lambda url: "127.0.0.1" not in url, lambda route: route.fulfill(body="", content_type="text/css"))
    printed = portal.manage("new_administrator", name, "--reason", "ada left", "--email", email)
    choose_password(visitor, links_in(printed)[0], "first-horse-battery")
    sign_in(page, portal.address, name, "first-horse-battery")
    must_fit(visitor, "/admin/profile/")
    page.get_by_role("link", name=f"Connect {sign_ons.NAME}").click()
    issuer = page.url.partition("/oauth2")[0]
    sign_ons.someone(issuer, name, email=email, email_verified=True)
    consent(page, name)
    expect(page.locator("[data-panel=sign-on]")).to_contain_text(f"Connected as {email}")
    # From now on the provider alone opens it.
    page.goto("about:blank")
    page.context.clear_cookies()
    must_fit(visitor, "/admin/login/?next=/admin/profile/")
    page.get_by_role("link", name=f"Sign in with {sign_ons.NAME}").click()
    consent(page, name)


def consent(page: Page, subject: str) -> None:
    """Sign in at the provider, which then leads to the profile."""
    page.get_by_label("Subject").fill(subject)
    page.get_by_role("button", name="Authorize", exact=True).click()
    page.wait_for_url("**/admin/profile/")


def links_in(text: str) -> list[str]:
    return re.findall(r"^\S*(/admin/reset/\S+)", text, re.MULTILINE)


def choose_password(visitor: Visitor, link: str, password: str) -> None:
    page = visitor.page
    must_fit(visitor, link)
    for field in page.locator("input[type=password]").all():
        field.fill(password)
    page.get_by_role("button", name="Set password").click()
    page.get_by_role("link", name="Sign in").click()
    expect(page.get_by_role("button", name="Log in")).to_be_visible()


def test_every_page_of_the_sidebar_fits_and_is_quiet(visit: Visit) -> None:
    visitor = visit("ada")
    visitor.goto("/admin/")
    links = visitor.page.get_by_role("navigation").first.get_by_role("link").all()
    paths = sorted({link.get_attribute("href") or "" for link in links})
    assert len(paths) > 5
    for path in paths:
        must_fit(visitor, path)
        first = visitor.page.locator("#result_list tbody th").get_by_role("link")
        if first.count():
            must_fit(visitor, first.first.get_attribute("href") or "")


def test_the_form_and_a_request_fit_and_are_quiet(visit: Visit, deployments: dict[Any, int]) -> None:
    visitor = visit("otto", color_scheme="dark")
    page = request_run(visitor, deployments["prod", LONG_HAUL], reason="to look at it")
    must_fit(visitor, page.url.removeprefix(visitor.address))
    must_fit(visitor, f"/admin/flows/deployment/{deployments['prod', LONG_HAUL]}/run/")


def must_fit(visitor: Visitor, path: str) -> None:
    page = visitor.page
    page.set_viewport_size(WIDE)
    assert visitor.goto(path).status == 200, path
    for size in (WIDE, NARROW):
        page.set_viewport_size(size)
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= size["width"], f"{path} is {width} px wide at {size['width']} px."
    assert visitor.troubles == [], path


def test_open_pages_leave_connections_for_others(portal: Portal, signed_in: Callable[[str], Any]) -> None:
    # More than the connections of the web process; nothing happens on the lists that they are about.
    with contextlib.ExitStack() as opened:
        for name in ("otto", "anna", "ada"):
            cookies = {each["name"]: each["value"] for each in signed_in(name)["cookies"]}
            client = opened.enter_context(httpx.Client(cookies=cookies, timeout=30, trust_env=False))
            for _ in range(8):
                stream = client.build_request("GET", f"{portal.address}/admin/live/?list=runs&shows=q%3Dnothing")
                answer = client.send(stream, stream=True)
                opened.callback(answer.close)
                assert answer.status_code == 200
        assert client.get(f"{portal.address}/admin/").status_code == 200
