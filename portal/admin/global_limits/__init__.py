"""Concurrency limits that do not belong to one pool, queue or deployment: the list and the page of one."""
