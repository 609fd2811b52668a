"""Help, About, and what the frame of a page offers."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from flows.models import Deployment, Health
from portal import VERSION
from portal.ui import manual

pytestmark = pytest.mark.django_db

Login = Callable[[User], Client]


def text(client: Client, url: str) -> str:
    answer = client.get(url)
    assert answer.status_code == 200
    return answer.content.decode()


def test_every_document_is_a_page_whose_links_lead_somewhere(stranger: User, login: Login) -> None:
    client = login(stranger)
    contents = text(client, reverse("help"))
    files = {path.stem for path in Path(settings.BASE_DIR / "docs").glob("*.md")}
    assert {each.slug for each in manual.pages()} == files
    anchors = {each.slug: set(re.findall(r' id="([^"]+)"', each.html)) for each in manual.pages()}
    for each in manual.pages():
        assert each.title
        assert reverse("help_page", args=[each.slug]) in contents
        for link in re.findall(r'<a href="([^"]*)"', each.html):
            found = re.fullmatch(r"(?:/admin/help/([a-z0-9-]+)/)?(?:#(.*))?", link)
            assert found or link.startswith("https://"), f"{each.slug}: {link}"
            if found:
                slug = found[1] or each.slug
                assert slug in files, f"{each.slug}: {link}"
                assert not found[2] or found[2] in anchors[slug], f"{each.slug}: {link}"
    assert manual.pages()[0].html in text(client, reverse("help_page", args=[manual.pages()[0].slug]))


@pytest.mark.parametrize("slug", ["none", "README", "admin"])
def test_there_is_no_other_page(viewer: User, login: Login, slug: str) -> None:
    assert login(viewer).get(f"/admin/help/{slug}/").status_code == 404


def test_about_names_the_versions_of_servers_that_the_reader_sees(
    viewer: User, admin_user: User, deployment: Deployment, prod_deployment: Deployment, login: Login
) -> None:
    Health.objects.filter(server=deployment.environment.server).update(version="3.9.1")
    Health.objects.filter(server=prod_deployment.environment.server).update(version="3.8.8")
    page = text(login(viewer), reverse("about"))
    assert VERSION in page
    assert "3.9.1" in page
    assert "3.8.8" not in page
    assert "3.8.8" in text(login(admin_user), reverse("about"))


def test_the_version_is_that_of_the_project() -> None:
    project = tomllib.loads((settings.BASE_DIR / "pyproject.toml").read_text())
    assert project["project"]["version"] == VERSION


def test_help_is_found_by_the_palette(stranger: User, login: Login) -> None:
    assert reverse("help_page", args=["backfill"]) in text(login(stranger), f"{reverse('admin:search')}?s=backfills")


class Shortcuts(HTMLParser):
    """Collects the letters of the pages in the list of shortcuts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        if letter := names.get("data-go"):
            assert letter not in self.found, "two pages have one letter"
            self.found[letter] = names["href"] or ""


def test_shortcuts_lead_only_where_the_menu_does(
    stranger: User, requester: User, admin_user: User, deployment: Deployment, login: Login
) -> None:
    profile = reverse("profile")
    assert set(Shortcuts(text(login(stranger), profile)).found) == {"o", "n", "p", "h"}
    assert Shortcuts(text(login(requester), profile)).found["d"] == reverse("admin:flows_deployment_changelist")
    for user in (requester, admin_user):
        client = login(user)
        for address in Shortcuts(text(client, profile)).found.values():
            assert client.get(address).status_code == 200


def test_who_is_signed_out_sees_neither_names_nor_shortcuts(viewer: User, login: Login) -> None:
    client = login(viewer)
    assert f'name="portal-user" content="{viewer.pk}"' in text(client, reverse("profile"))
    page = client.post(reverse("admin:logout")).content.decode()
    assert "You are signed out" in page
    # The script forgets on such a page what was visited.
    assert "portal/palette.js" in page
    for mark in ("portal-user", "data-go", viewer.username):
        assert mark not in page
