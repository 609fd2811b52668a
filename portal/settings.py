"""One settings file for demo, tests and production; everything that differs comes from the environment."""

import os
from base64 import urlsafe_b64decode
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured
from django.templatetags.static import static
from django.urls import reverse_lazy
from django.utils.csp import CSP

BASE_DIR = Path(__file__).resolve().parent.parent


def env(name: str, default: str = "") -> str:
    """The value of a setting, or the content of the file that NAME_FILE points to."""
    path = os.environ.get(f"{name}_FILE")
    if path:
        try:
            return Path(path).read_text().strip()
        except OSError as error:
            raise ImproperlyConfigured(f"{name}_FILE: {path} cannot be read: {error.strerror}.") from error
    return os.environ.get(name, default)


def env_list(name: str, default: str = "") -> list[str]:
    return [item.strip() for item in env(name, default).split(",") if item.strip()]


def env_flag(name: str, *, default: bool) -> bool:
    return env(name, str(default)).lower() in {"1", "true", "yes", "on"}


MODE = env("PORTAL_MODE", "production")
if MODE not in {"production", "demo", "test"}:
    raise ImproperlyConfigured(f"PORTAL_MODE is {MODE!r}; it may be production, demo or test.")
PRODUCTION = MODE == "production"

# Known to everyone who can read this file, so only for the demo and tests.
INSECURE_SECRET_KEY = "insecure-" + "portal" * 9
INSECURE_FIELD_KEY = "cG9ydGFsLWluc2VjdXJlLWZpZWxkLWtleS0wMDAwMDA="
INSECURE_AUDIT_KEY = "insecure-" + "audit" * 9
INSECURE_TOKEN_PEPPER = "insecure-" + "token" * 9
# Characters. A shorter key could be found by trying, from one entry and its signature.
SHORTEST_AUDIT_KEY = 32


def secret(name: str, insecure: str, how: str) -> str:
    value = env(name) or ("" if PRODUCTION else insecure)
    if not value or (PRODUCTION and insecure in value):
        raise ImproperlyConfigured(f"{name} is not set. Set it, or {name}_FILE, to {how}.")
    return value


def outgoing_proxy(text: str) -> str:
    """Check the address of a proxy; "environment" stands for what HTTPS_PROXY and its like say."""
    if text in ("", "environment"):
        return text
    try:
        parts = urlsplit(text)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good or parts.path.strip("/") or parts.query or parts.fragment:
        # Not the value, which can hold a password.
        raise ImproperlyConfigured("PORTAL_OUTGOING_PROXY must be http://HOST:PORT or https://HOST:PORT.")
    return text


def fernet_keys(text: str) -> list[str]:
    """Split and validate the keys at the start, not when the first credential is stored."""
    keys = [key.strip() for key in text.split(",")]
    for number, key in enumerate(keys, start=1):
        try:
            is_good = len(urlsafe_b64decode(key)) == 32
        except ValueError:
            is_good = False
        if not is_good:
            raise ImproperlyConfigured(
                f"Key {number} of PORTAL_FIELD_KEYS is not a Fernet key: 32 random bytes in URL-safe base64."
            )
    return keys


def audit_keys(text: str) -> list[str]:
    keys = [key.strip() for key in text.split(",")]
    for number, key in enumerate(keys, start=1):
        if len(key) < SHORTEST_AUDIT_KEY:
            raise ImproperlyConfigured(
                f"Key {number} of PORTAL_AUDIT_KEYS is too short: use {SHORTEST_AUDIT_KEY} random characters or more."
            )
    return keys


def token_peppers(text: str) -> dict[int, str]:
    """Return number -> pepper. A token is stored under the number of one, so a number always means the same pepper."""
    found: dict[int, str] = {}
    for each in text.split(","):
        number, _, pepper = each.strip().partition(":")
        if not number.isdecimal() or int(number) in found:
            raise ImproperlyConfigured(
                "PORTAL_TOKEN_PEPPERS is NUMBER:TEXT, separated by commas, each number once; new tokens use the "
                "highest."
            )
        if len(pepper) < SHORTEST_AUDIT_KEY:
            raise ImproperlyConfigured(
                f"Pepper {number} of PORTAL_TOKEN_PEPPERS is too short: use {SHORTEST_AUDIT_KEY} random characters or "
                "more."
            )
        found[int(number)] = pepper
    return found


def issuer_address(name: str, text: str, expected: str) -> str:
    """Check the address of an issuer of OpenID Connect. Here and not on a page: the portal fetches keys from it."""
    parts = urlsplit(text)
    is_loopback = not PRODUCTION and parts.scheme == "http" and parts.hostname == "127.0.0.1"
    is_plain = not (parts.query or parts.fragment or parts.username) and text == text.rstrip("/")
    if not parts.hostname or not is_plain or (parts.scheme != "https" and not is_loopback):
        raise ImproperlyConfigured(f"{name}: {text!r} is not an issuer. {expected}")
    return text


def job_issuers(text: str) -> list[str]:
    """Return the issuers of job tokens."""
    expected = "Each is an address with https://, as in the claim iss of its tokens, separated by commas."
    found = [each.strip() for each in text.split(",")]
    return [issuer_address("PORTAL_JOB_ISSUERS", each, expected) for each in found if each]


SECRET_KEY = secret("PORTAL_SECRET_KEY", INSECURE_SECRET_KEY, "at least 50 random characters")
FIELD_KEYS = fernet_keys(secret("PORTAL_FIELD_KEYS", INSECURE_FIELD_KEY, "one or more Fernet keys, newest first"))
# The first one signs audit entries and approvals, each verifies. Apart from the others, because entries outlive those.
AUDIT_KEYS = audit_keys(
    secret("PORTAL_AUDIT_KEYS", INSECURE_AUDIT_KEY, "one or more keys of 32 random characters, newest first")
)
# Tokens of programs are stored as HMACs under one of them.
TOKEN_PEPPERS = token_peppers(
    secret(
        "PORTAL_TOKEN_PEPPERS", f"1:{INSECURE_TOKEN_PEPPER}", "1:TEXT, with 32 random characters or more as the text"
    )
)
DEBUG = False
JOB_ISSUERS = job_issuers(env("PORTAL_JOB_ISSUERS", "https://token.actions.githubusercontent.com,https://gitlab.com"))
ALLOWED_HOSTS = env_list("PORTAL_ALLOWED_HOSTS", "" if PRODUCTION else "localhost,127.0.0.1,[::1],testserver")
CSRF_TRUSTED_ORIGINS = env_list("PORTAL_TRUSTED_ORIGINS")
PUBLIC_URL = env("PORTAL_PUBLIC_URL")

# Single sign-on with OpenID Connect; without an issuer there is none. Here and not on a page, like the issuers of jobs.
SSO_ISSUER = env("PORTAL_SSO_ISSUER").rstrip("/")
SSO_NAME = env("PORTAL_SSO_NAME", "single sign-on")
SSO_CLIENT_ID, SSO_CLIENT_SECRET = env("PORTAL_SSO_CLIENT_ID"), env("PORTAL_SSO_CLIENT_SECRET")
# Accepted values of the claim acr, such as those for a second factor; empty: any.
SSO_ACR = env_list("PORTAL_SSO_ACR")
# Accept addresses without the claim email_verified: for a provider that assigns all addresses itself.
SSO_TRUSTS_EMAIL = env_flag("PORTAL_SSO_TRUSTS_EMAIL", default=False)
if SSO_ISSUER:
    issuer_address(
        "PORTAL_SSO_ISSUER", SSO_ISSUER, "It is an address with https://, as in the claim iss of its tokens."
    )
    if not SSO_CLIENT_ID or not SSO_CLIENT_SECRET:
        raise ImproperlyConfigured(
            "PORTAL_SSO_ISSUER is set: set PORTAL_SSO_CLIENT_ID and PORTAL_SSO_CLIENT_SECRET, or "
            "PORTAL_SSO_CLIENT_SECRET_FILE, to what the provider gave you for the portal."
        )
    if PRODUCTION and not PUBLIC_URL:
        raise ImproperlyConfigured("PORTAL_PUBLIC_URL is not set, and the provider of single sign-on returns to it.")

# Loosening the rules of a protected environment then needs no second administrator. Here and not on a page: whoever is
# bound by the rule must not be able to switch it off.
SINGLE_ADMINISTRATOR = env_flag("PORTAL_SINGLE_ADMINISTRATOR", default=False)


# Lists join eight tables and more, the filtered ones first: trying all orders of the others took Postgres 15 ms, and it
# found this one. Its default cost of a page out of order is that of a disk that turns: it read whole tables instead.
PLANNING = "-c join_collapse_limit=4 -c random_page_cost=1.1"


def database(url: str) -> dict[str, Any]:
    """Django's settings for one postgresql:// address; the host may be a socket folder given as ?host=."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ImproperlyConfigured(
            "DATABASE_URL is no address; it looks like postgresql://user@host:5432/portal."
        ) from error
    if parts.scheme not in {"postgresql", "postgres"}:
        raise ImproperlyConfigured("DATABASE_URL must begin with postgresql://; the portal needs Postgres.")
    query: dict[str, Any] = dict(parse_qsl(parts.query, keep_blank_values=True))
    if "prepare_threshold" in query:
        given = query["prepare_threshold"]
        query["prepare_threshold"] = int(given) if given.isdecimal() else None
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")) or "portal",
        "USER": unquote(parts.username or ""),
        "PASSWORD": env("PORTAL_DATABASE_PASSWORD") or unquote(parts.password or ""),
        "HOST": query.pop("host", parts.hostname or ""),
        "PORT": query.pop("port", str(port or "")),
        # A kept connection leaks under ASGI, and one is enough elsewhere: each kind of process says what it is.
        "CONN_MAX_AGE": 0 if PROCESS == "web" else 60,
        "CONN_HEALTH_CHECKS": True,
        # Postgres plans a statement only the first few times: a third of the time of a submission.
        "OPTIONS": {"server_side_binding": True, "prepare_threshold": 5, "options": PLANNING} | query | POOL,
    }


# "web" is set by portal/asgi.py; everything else counts as a command, qcluster and the follower included.
PROCESS = env("PORTAL_PROCESS", "command")
POOL: dict[str, Any] = {"pool": {"min_size": 2, "max_size": 16}} if PROCESS == "web" else {}
DATABASES = {"default": database(env("DATABASE_URL", "postgresql://postgres@127.0.0.1:5432/portal"))}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",
    "unfold.contrib.filters",
    "portal.apps.PortalAdminConfig",
    "portal.apps.PortalConfig",
    "runs",
    "flows",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "django.contrib.humanize",
    # After runs, whose qcluster replaces the command of the same name.
    "django_q",
    "django_tables2",
    "ninja",  # for the static files of the API's page
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "portal.auth.own_zone.OwnZoneMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    "portal.api.authentication.HeaderMiddleware",
]
ROOT_URLCONF = "portal.urls"
ASGI_APPLICATION = "portal.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "portal" / "templates"],  # before the theme's, whose pieces may be replaced by name
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.csp",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
# Django's own first: it knows superusers and Django's own permissions, grants add the rest.
AUTHENTICATION_BACKENDS = ["portal.auth.backend.AccountBackend", "portal.auth.backend.GrantBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}", "OPTIONS": options}
    for name, options in {
        # Stricter than Django's 0.7: a name with a few digits is no password.
        "UserAttributeSimilarityValidator": {"max_similarity": 0.6},
        "MinimumLengthValidator": {"min_length": 12},
        "CommonPasswordValidator": {},
    }.items()
]
# Seconds for which a link for a new password is valid.
PASSWORD_RESET_TIMEOUT = 3600
LOGIN_URL = reverse_lazy("admin:login")
LOGIN_REDIRECT_URL = reverse_lazy("admin:index")
# A working day. Grants and accounts are checked on each request, so this only limits an unattended browser.
SESSION_COOKIE_AGE = 12 * 3600
SESSION_ENGINE = "portal.auth.browser_sessions"
CSRF_FAILURE_VIEW = "portal.error_pages.csrf_failure"

LANGUAGE_CODE = "en-gb"
TIME_ZONE = env("PORTAL_TIME_ZONE", "UTC")
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = Path(env("PORTAL_STATIC_ROOT", str(BASE_DIR / "staticfiles")))
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if PRODUCTION
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}
WHITENOISE_USE_FINDERS = not PRODUCTION
# Looks files up on demand instead of scanning all of them for every client of every test.
WHITENOISE_AUTOREFRESH = MODE == "test"

HTTPS = env_flag("PORTAL_HTTPS", default=PRODUCTION)
SECURE_SSL_REDIRECT = HTTPS
# Probes call the container by plain HTTP.
SECURE_REDIRECT_EXEMPT = [r"^health/"]
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
# With this prefix browsers take the cookie only over HTTPS and from this host: another subdomain cannot plant one.
COOKIE_PREFIX = "__Host-" if HTTPS else ""
SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = f"{COOKIE_PREFIX}portal_session", f"{COOKIE_PREFIX}portal_csrf"
SECURE_HSTS_SECONDS = 31536000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS
BEHIND_PROXY = env_flag("PORTAL_BEHIND_PROXY", default=False)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_PROXY else None
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CSP = {
    "default-src": [CSP.SELF],
    # The theme's Alpine needs unsafe-eval; inline and foreign scripts stay forbidden.
    "script-src": [CSP.SELF, CSP.NONCE, CSP.UNSAFE_EVAL],
    "style-src": [CSP.SELF, CSP.UNSAFE_INLINE],
    "img-src": [CSP.SELF, "data:"],
    "connect-src": [CSP.SELF],
    "frame-ancestors": [CSP.NONE],
    "base-uri": [CSP.SELF],
    "form-action": [CSP.SELF],
    "object-src": [CSP.NONE],
}
# Prefect accepts 512 kB of parameters per run. Forms may be larger, so that the run form can explain the limit.
DATA_UPLOAD_MAX_MEMORY_SIZE = 8 * 1024 * 1024
# Django's 1,000 are too few for the run form of a deployment with many parameters: some have two or three inputs.
DATA_UPLOAD_MAX_NUMBER_FIELDS = 10_000

# Its worker, broker interface and schedules; the processes are those of runs.cluster.
Q_CLUSTER = {
    "name": "portal",
    "broker_class": "runs.broker.QueueBroker",
    # Here only for its own check: runs.cluster ends a task, runs.queue takes it again.
    "timeout": 60,
    "retry": 90,
    "catch_up": False,  # after a downtime each schedule runs once, not once for each missed time
    "label": "Background tasks",
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["console"], "level": env("PORTAL_LOG_LEVEL", "INFO")},
    # httpx logs every URL at INFO: noise, and the addresses of a Prefect server do not belong in this log. django-q2
    # logs each task three times; runs.cluster does once, with its seconds.
    "loggers": {name: {"level": "WARNING"} for name in ("httpx", "httpcore", "django-q", "mcp")},
}

# Dotted name of the function that opens an environment's Prefect client; only tests replace it.
PREFECT_CLIENT = "flows.prefect_api.connect.for_server"
# Gives the page of a row; runs sends mails with links and knows no addresses.
LINK_TO = "portal.ui.audit_links.address"
# Gives the path of a link that asks to sign in before it leads to such a page.
LINK_THROUGH_SIGN_IN = "portal.auth.sign_in_again.path_through"
# Gives the time zone of a person, which the portal stores: email keeps their quiet hours.
ZONE_OF = "portal.auth.profiles.zone_of"
# Gives the path of a link by which a person chooses a new password.
RESET_LINK_TO = "portal.auth.password_reset.path_of_link"
# Mail is sent if a server is set. Without one the demo writes it to its log, and production marks it as failed.
MAIL_HOST = env("PORTAL_MAIL_HOST")
SENDS_MAIL = bool(MAIL_HOST) or not PRODUCTION
if PRODUCTION and MAIL_HOST and not PUBLIC_URL:
    raise ImproperlyConfigured("PORTAL_PUBLIC_URL is not set, and every mail has a link into the portal.")
DEFAULT_FROM_EMAIL = env("PORTAL_MAIL_FROM", "portal@localhost")
SMTP = {
    "host": MAIL_HOST or "localhost",
    "port": int(env("PORTAL_MAIL_PORT", "587")),
    "username": env("PORTAL_MAIL_USER"),
    "password": env("PORTAL_MAIL_PASSWORD"),
    "use_tls": env_flag("PORTAL_MAIL_TLS", default=True),
    "timeout": 20,
}
MAILERS: dict[str, dict[str, object]] = {
    "default": {"BACKEND": "django.core.mail.backends.smtp.EmailBackend", "OPTIONS": SMTP}
    if MAIL_HOST or PRODUCTION
    else {"BACKEND": "django.core.mail.backends.console.EmailBackend"}
}

# Through which webhooks, chats and other channels are reached. Without it HTTPS_PROXY and its like are ignored.
OUTGOING_PROXY = outgoing_proxy(env("PORTAL_OUTGOING_PROXY"))

# The follower touches this file while it runs; `portal.ops.probe` checks its age.
HEARTBEAT_FILE = env("PORTAL_HEARTBEAT")
# How far back the first sync of an environment goes.
HISTORY_DAYS = int(env("PORTAL_HISTORY_DAYS", "30"))

UNFOLD = {
    "SITE_TITLE": "Operations portal",
    "SITE_HEADER": "Operations portal",
    "SITE_SUBHEADER": "for Prefect",
    "SITE_SYMBOL": "conversion_path",
    "SITE_URL": None,
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("portal/icon.svg")},
    ],
    "SHOW_HISTORY": False,  # the audit trail has it, refusals included
    "SHOW_VIEW_ON_SITE": False,
    "BORDER_RADIUS": "6px",
    "STYLES": [lambda request: static("portal/portal.css")],
    "SCRIPTS": [lambda request: static("portal/live.js")],
    "DASHBOARD_CALLBACK": "portal.admin.overview.page.add_overview",
    "SIDEBAR": {"show_search": True, "show_all_applications": False, "navigation": "portal.ui.menu.navigation"},
    "COLORS": {
        "primary": {
            "50": "oklch(97% .015 262)",
            "100": "oklch(94% .03 262)",
            "200": "oklch(89% .058 262)",
            "300": "oklch(81% .1 262)",
            "400": "oklch(71% .15 262)",
            "500": "oklch(62% .19 262)",
            "600": "oklch(53% .2 262)",
            "700": "oklch(46% .18 262)",
            "800": "oklch(40% .15 262)",
            "900": "oklch(36% .12 262)",
            "950": "oklch(26% .08 262)",
        },
    },
}
