"""Where messages to hooks arrive: reads one, calls the service, and answers."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from portal.api.authentication import count_minute
from portal.api.problems import problem
from portal.auth import throttle
from portal.hooks.body_limit import MARK, declared
from runs.automation import LARGEST_BODY, hook_deliveries, hook_refusals
from runs.automation.hook_deliveries import Incoming, Outcome, Proven
from runs.errors import Refused

# Proven messages of one hook a minute.
LIMIT = 120
# What a delivery did -> status. A refused one fails for the sender too, so that someone looks at it.
DONE = {Outcome.ACCEPTED: 202, Outcome.IGNORED: 202, Outcome.REFUSED: 422}
STATUS = {
    "hook.unknown": 404,
    "hook.too_large": 413,
    "hook.header": 400,
    "hook.signature": 401,
    "hook.timestamp": 401,
    "hook.disabled": 410,
    "hook.replay": 409,
    "hook.rate": 429,
    "hook.throttled": 429,
}
# Codes that only those who see the hook may read -> the one that is answered.
ANSWERED = {
    "hook.altered": "hook.signature",
    "hook.owner_changed": "hook.disabled",
    "hook.ended": "hook.disabled",
}
SENTENCES = {
    "hook.signature": "No signature of the message was made with a valid secret of the hook.",
    "hook.disabled": "This hook accepts no messages.",
}


@csrf_exempt
@never_cache
@require_POST
def receive(request: HttpRequest, key: str) -> HttpResponse:
    """Answer 202 to a message that requests a run or is ignored, 422 to one whose run is refused."""
    try:
        proven = hook_deliveries.authenticate(incoming_of(request, key))
        require_rate(proven)
        delivery = hook_deliveries.deliver(proven)
    except Refused as refusal:
        return refused(request, refusal)
    answer = {
        "id": delivery.pk,
        "outcome": delivery.outcome,
        "code": delivery.code,
        "request": delivery.run_request_id,
    }
    return JsonResponse(answer, status=DONE[Outcome(delivery.outcome)])


def incoming_of(request: HttpRequest, key: str) -> Incoming:
    # Before `request.body`, which reads all of it.
    is_over = declared(request.META.get("CONTENT_LENGTH") or "") > LARGEST_BODY or MARK in getattr(request, "scope", ())
    return Incoming(
        key,
        {name.lower(): value for name, value in request.headers.items()},
        None if is_over else request.body,
        request.META.get("REMOTE_ADDR", ""),
        request.META.get("HTTP_USER_AGENT", ""),
    )


def require_rate(proven: Proven) -> None:
    """Count a message of a hook in the running minute; raise `Refused` above the limit."""
    messages, seconds = count_minute(proven.hook.key)
    if messages > LIMIT:
        refusal = Refused(
            "hook.rate",
            f"More than {LIMIT} messages a minute came to this hook. Try again in {seconds} s.",
            retry_after=seconds,
        )
        hook_refusals.note(proven.hook, refusal, proven.by)
        raise refusal


def refused(request: HttpRequest, refusal: Refused) -> HttpResponse:
    """Return the answer to a refused message, or to one of too many from an address."""
    if refusal.code in hook_deliveries.UNPROVEN:
        try:
            throttle.begin_hook(request.META.get("REMOTE_ADDR", ""))
        except Refused as throttled:
            refusal = throttled
    code = ANSWERED.get(refusal.code, refusal.code)
    headers = {"Retry-After": str(refusal.data["retry_after"])} if "retry_after" in refusal.data else {}
    # What is left of the body is not read.
    headers |= {"Connection": "close"} if code == "hook.too_large" else {}
    return problem(STATUS[code], code, SENTENCES.get(code, refusal.message), headers=headers)
