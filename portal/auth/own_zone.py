"""Times in the reader's own zone, for each request of a signed-in user."""

from __future__ import annotations

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.http import HttpRequest, HttpResponseBase
from django.utils import timezone
from django.utils.deprecation import MiddlewareMixin

from portal.auth.profiles import time_zone_of


class OwnZoneMiddleware(MiddlewareMixin):
    def process_request(self, request: HttpRequest) -> None:
        person = request.user
        name = time_zone_of(person) if person.is_authenticated else ""
        timezone.deactivate()
        if name:
            try:
                timezone.activate(ZoneInfo(name))
            except (ZoneInfoNotFoundError, ValueError):
                return  # a zone that the system no longer has

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        # What is streamed is written after this, and still in the zone.
        if not response.streaming:
            timezone.deactivate()
        return response
