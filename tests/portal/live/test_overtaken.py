"""What an open page still offers or says after the state has changed: forms are closed, messages of success removed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from playwright.sync_api import expect

from runs.models import Run
from tests.e2e.browser_actions import open_browser
from tests.portal.served_pages import ORIGIN, render, serve

pytestmark = pytest.mark.django_db


def test_a_form_of_an_act_that_is_over_cannot_be_sent_and_the_message_goes(
    a_run: Callable[..., Run], requester: User, login: Callable[[User], Client], chromium: str
) -> None:
    run, client = a_run("RUNNING"), login(requester)
    address = reverse("admin:runs_run_change", args=[run.pk])
    # 1. The page after something was requested, and the same page when the run has ended by itself.
    client.post(reverse("admin:runs_run_refresh", args=[run.pk]))
    pages = render(client, [address])
    Run.objects.filter(pk=run.pk).update(state_type="FAILED", state_name="Failed")
    ended = render(client, [address])
    with open_browser(chromium) as browser:
        context = browser.new_context(service_workers="block")
        serve(context, pages)
        page = context.new_page()
        page.goto(f"{ORIGIN}{address}")
        message, form = page.locator("[data-messages] li"), page.locator("details[data-key=cancel] form")
        expect(message).to_have_count(1)
        page.locator("details[data-key=cancel] > summary").click()
        form.locator("textarea").fill("wrong month")
        expect(form.locator("button")).to_be_enabled()
        # 2. The page refreshes: nothing that was typed is lost, and nothing can be sent.
        pages.update(ended)
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        expect(form.locator("[data-over]")).to_be_visible()
        expect(form.locator("button")).to_be_disabled()
        expect(form.locator("textarea")).to_have_value("wrong month")
        expect(message).to_have_count(0)
