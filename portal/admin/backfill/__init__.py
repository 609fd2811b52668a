"""Backfills from the page of a deployment: what varies, the plan, and the request."""
