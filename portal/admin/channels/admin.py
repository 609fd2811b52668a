"""Channels: the list, a new one, their pages and deliveries. A secret is shown once, an address never."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Model, QuerySet
from django.forms import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import render
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from portal.admin.actions import perform, redirect_back
from portal.admin.base import RestrictedAdmin
from portal.admin.channels import page
from portal.admin.channels.forms import ChannelForm, NewChannelForm
from portal.auth.request_user import actor_of
from portal.ui import channel_labels
from runs.errors import Refused
from runs.governance.rule_changes import oversees
from runs.models import Channel, Delivery
from runs.notifications import channels
from runs.notifications.channels import NewChannel


@admin.register(Channel)
class ChannelAdmin(RestrictedAdmin):
    list_display = ["name", "kind", "destination", "state"]
    list_before_template = "portal/channel/_tools.html"
    search_fields = ["name", "destination"]
    search_help_text = "Name or host"
    actions = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[Channel]:
        return channels.visible_to(actor_of(request))

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Let administrators and auditors in."""
        return bool(request.user.is_active) and oversees(actor_of(request))

    @admin.display(description="state")
    def state(self, channel: Channel) -> SafeString:
        return render_to_string("portal/_state.html", {"row": channel_labels.state_badge(channel)})

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context = {"may_create": actor_of(request).is_administrator, **(extra_context or {})}
        return super().changelist_view(request, context)

    def get_urls(self) -> list[URLPattern | URLResolver]:
        forms = require_http_methods(["GET", "HEAD", "POST"])
        hidden = sensitive_post_parameters("address")
        views: dict[str, tuple[str, Callable[..., HttpResponse]]] = {
            "new": ("new/", hidden(forms(self.new))),
            "edit": ("<int:pk>/edit/", hidden(forms(self.edit))),
            "enable": ("<int:pk>/enable/", require_POST(self.enable)),
            "disable": ("<int:pk>/disable/", require_POST(self.disable)),
            "test": ("<int:pk>/test/", require_POST(self.test)),
            "replace_secret": ("<int:pk>/replace-secret/", require_POST(self.replace_secret)),
            "delivery": ("<int:pk>/deliveries/<int:number>/", require_GET(self.delivery)),
            "replay": ("<int:pk>/deliveries/<int:number>/replay/", require_POST(self.replay)),
        }
        own = [
            path(route, self.admin_site.admin_view(view), name=f"runs_channel_{name}")
            for name, (route, view) in views.items()
        ]
        return [*own, *super().get_urls()]

    # A new one

    def new(self, request: HttpRequest) -> HttpResponse:
        """Show the form; on POST create the channel, and show the secret of a webhook, which no other page can do."""
        if not self.has_view_permission(request):
            raise PermissionDenied("Only administrators can add channels.")
        form = NewChannelForm(request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid() and (made := self.create(request, form)):
            if made.secret:
                return self.show_secret(request, made, "Channel created")
            messages.success(request, f"Channel {made.channel} created.")
            return HttpResponseRedirect(page_of(made.channel))
        return self.show_form(request, form, None)

    def create(self, request: HttpRequest, form: NewChannelForm) -> NewChannel | None:
        """Create the channel; None if it is refused, which the form then shows."""
        with transaction.atomic():
            # A second click, or a reload of the page with the secret, waits here and then finds the first one's.
            User.objects.select_for_update(no_key=True).get(pk=actor_of(request).user.pk)
            if form.is_repeated():
                message = "A channel of this name was created after this page was opened: the form was sent twice."
                form.add_error("name", ValidationError(message, "channel.repeated"))
                return None
            try:
                return channels.create(by=actor_of(request), **form.cleaned_data)
            except Refused as refusal:
                form.refuse(refusal)
                return None

    def show_form(self, request: HttpRequest, form: ChannelForm, channel: Channel | None) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": f"Change {channel.name}" if channel else "New channel",
            "opts": self.opts,
            "original": channel,
            "form": form,
            # Read now, also after a refusal: what is sent again then is meant.
            "newest": form.newest() if isinstance(form, NewChannelForm) else 0,
        }
        return render(request, "portal/channel/form.html", context)

    def show_secret(self, request: HttpRequest, made: NewChannel, title: str) -> HttpResponse:
        """Render the page with a secret: the answer to the POST itself, so that nothing stores it."""
        context = {
            **self.admin_site.each_context(request),
            "title": title,
            "opts": self.opts,
            "channel": made.channel,
            "text": made.secret,
        }
        response = render(request, "portal/channel/secret.html", context)
        response.headers["Cache-Control"] = "no-store"
        return response

    # Its page

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        channel: Channel = self.visible_or_404(request, object_id)
        context = {
            **self.admin_site.each_context(request),
            "title": channel.name,
            "opts": self.opts,
            "original": channel,
            **page.context(request, channel),
        }
        return TemplateResponse(request, "portal/channel/page.html", context | (extra_context or {}))

    def edit(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show the form of an existing channel, and save it."""
        channel: Channel = self.visible_or_404(request, pk)
        form = ChannelForm(request.POST if request.method == "POST" else None, channel=channel)
        if request.method == "POST" and form.is_valid():
            try:
                channels.change(channel, by=actor_of(request), **form.cleaned_data)
            except Refused as refusal:
                form.refuse(refusal)
            else:
                messages.success(request, f"Channel {form.cleaned_data['name']} saved.")
                return HttpResponseRedirect(page_of(channel))
        return self.show_form(request, form, channel)

    def enable(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self.switch(request, pk, True)

    def disable(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self.switch(request, pk, False)

    def switch(self, request: HttpRequest, pk: int, is_enabled: bool) -> HttpResponse:
        channel: Channel = self.visible_or_404(request, pk)
        perform(
            request,
            lambda reason: channels.set_enabled(channel, is_enabled, by=actor_of(request), reason=reason),
            f"Channel {channel} {'enabled' if is_enabled else 'disabled'}.",
        )
        return redirect_back(request, page_of(channel))

    def test(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Queue a test message; its page says what the other side answered."""
        channel: Channel = self.visible_or_404(request, pk)
        made: list[Delivery] = []
        perform(
            request,
            lambda reason: made.append(channels.send_test(channel, by=actor_of(request))),
            "Test message queued.",
        )
        return HttpResponseRedirect(delivery_page_of(channel, made[0]) if made else page_of(channel))

    def replace_secret(self, request: HttpRequest, pk: int) -> HttpResponse:
        channel: Channel = self.visible_or_404(request, pk)
        try:
            return self.show_secret(request, channels.replace_secret(channel, by=actor_of(request)), "Secret replaced")
        except Refused as refusal:
            messages.warning(request, refusal.message, extra_tags=refusal.code)
            return HttpResponseRedirect(page_of(channel))

    # Its deliveries

    def delivery_of(self, request: HttpRequest, pk: int, number: int) -> tuple[Channel, Delivery]:
        channel: Channel = self.visible_or_404(request, pk)
        delivery = channels.deliveries_of(channel).filter(pk=number).first()
        if delivery is None:
            raise Http404
        return channel, delivery

    def delivery(self, request: HttpRequest, pk: int, number: int) -> HttpResponse:
        channel, delivery = self.delivery_of(request, pk, number)
        context = {
            **self.admin_site.each_context(request),
            "title": f"Delivery {delivery.pk}",
            "opts": self.opts,
            "original": channel,
            **page.delivery_context(request, channel, delivery),
        }
        return TemplateResponse(request, "portal/channel/delivery.html", context)

    def replay(self, request: HttpRequest, pk: int, number: int) -> HttpResponse:
        channel, delivery = self.delivery_of(request, pk, number)
        perform(
            request,
            lambda reason: channels.replay(delivery, by=actor_of(request)),
            "Message queued once more, with the same id.",
        )
        return HttpResponseRedirect(delivery_page_of(channel, delivery))


def page_of(channel: Channel) -> str:
    return reverse("admin:runs_channel_change", args=[channel.pk])


def delivery_page_of(channel: Channel, delivery: Delivery) -> str:
    return reverse("admin:runs_channel_delivery", args=[channel.pk, delivery.pk])
