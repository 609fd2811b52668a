"""The web process: `uvicorn portal.asgi:application`."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
os.environ.setdefault("PORTAL_PROCESS", "web")

from django.core.asgi import get_asgi_application

application = get_asgi_application()
