"""The API at /api/v1: its routes, errors and description."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.views.decorators import staff_member_required
from ninja import NinjaAPI, Swagger
from ninja.openapi.schema import OpenAPISchema

from portal.api import (
    account_routes,
    backfill_routes,
    catalog_routes,
    chain_routes,
    channel_routes,
    drift_routes,
    event_routes,
    event_rule_routes,
    failure_routes,
    flow_routes,
    global_limit_routes,
    hook_routes,
    job_routes,
    level_routes,
    limit_routes,
    notification_routes,
    notification_rule_routes,
    pin_routes,
    pool_routes,
    prefect_schedule_routes,
    preset_routes,
    problems,
    profile_routes,
    request_routes,
    rule_routes,
    run_routes,
    schedule_routes,
    standing_routes,
)
from portal.api.authentication import TokenAuth
from portal.api.request_text import PlainParser

DESCRIPTION = """
Every request carries a token: `Authorization: Bearer portal_…`. It acts as its person or service account, within its
scopes, and every act is in the audit trail under the token's key.

Lists come in pages: `next` of one page is the `cursor` of the next. `fields` names the fields that are wanted.
A request that acts takes an `Idempotency-Key`: sent again with the same key, it is answered again and done once.
Errors are problem details (RFC 9457): `code` is for programs and stays, `detail` is for people.
"""
ROUTERS = (
    # Before the routes of deployments, which would take its end for the name of a deployment.
    limit_routes.router,
    prefect_schedule_routes.router,
    drift_routes.router,
    profile_routes.router,
    pin_routes.router,
    catalog_routes.router,
    flow_routes.router,
    pool_routes.router,
    global_limit_routes.router,
    request_routes.router,
    preset_routes.router,
    backfill_routes.router,
    schedule_routes.router,
    chain_routes.router,
    run_routes.router,
    event_routes.router,
    event_rule_routes.router,
    failure_routes.router,
    level_routes.router,
    notification_rule_routes.router,
    notification_routes.router,
    channel_routes.router,
    rule_routes.router,
    standing_routes.router,
    account_routes.router,
    hook_routes.router,
    job_routes.router,
)


class PortalAPI(NinjaAPI):
    def get_openapi_schema(self, **options: Any) -> OpenAPISchema:
        """Describe each error as the one response that all errors are, with its media type."""
        found = super().get_openapi_schema(**options)
        for operations in found["paths"].values():
            for operation in operations.values():
                failures = [status for status in operation["responses"] if int(status) >= 400]
                operation["responses"] |= {status: {"$ref": "#/components/responses/Problem"} for status in failures}
        schema = {"$ref": "#/components/schemas/Problem"}
        response = {"description": "What went wrong.", "content": {problems.MEDIA_TYPE: {"schema": schema}}}
        found["components"]["responses"] = {"Problem": response}
        return found


api = PortalAPI(
    title="Operations portal for Prefect",
    version="1",
    description=DESCRIPTION,
    auth=TokenAuth(),
    parser=PlainParser(),
    # People who have signed in read the description; programs read it in the documentation.
    docs=Swagger(settings={"persistAuthorization": False}),
    docs_decorator=staff_member_required(login_url="admin:login"),
    urls_namespace="api",
)
for router in ROUTERS:
    api.add_router("", router)
for exception, handler in problems.HANDLERS.items():
    api.add_exception_handler(exception, handler)
