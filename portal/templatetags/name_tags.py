"""Template filters for names: {{ run.what|deployment_name }}."""

from django import template

from portal.ui.text import deployment_name, name_and_flow

register = template.Library()
register.filter(deployment_name)
register.filter(name_and_flow)
