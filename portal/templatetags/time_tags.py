"""Template tags and filters for times: {% relative_time run.started_at %}."""

from django import template

from portal.ui import times

register = template.Library()
register.simple_tag(times.relative_time)
register.simple_tag(times.running_for)
register.filter(times.exact_time)
register.filter(times.clock_time)
register.filter(times.clock_and_age)
