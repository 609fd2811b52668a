"""Template filters for names: {{ run.what|deployment_name }}."""

from django import template

from flows.wording import deployment_name
from portal.ui.text import name_and_flow

register = template.Library()
register.filter(deployment_name)
register.filter(name_and_flow)
