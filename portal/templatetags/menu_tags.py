"""Template filter for the titles of the menu."""

from django import template

from portal.ui import menu

register = template.Library()


@register.filter
def menu_title(name: object) -> str:
    """Return the menu's title for the plural name of a model; any other text stays as it is."""
    return menu.title_of_plural(str(name))
