"""The one admin site."""

from unfold.sites import UnfoldAdminSite


class PortalSite(UnfoldAdminSite):
    site_header = "Prefect operations portal"
    site_title = "Operations portal"
    index_title = "Overview"
