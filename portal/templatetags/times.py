"""Times in templates: {% when run.started_at %}."""

from django import template

from portal import times

register = template.Library()
register.simple_tag(times.when)
register.simple_tag(times.running_for)
register.filter(times.exactly)
