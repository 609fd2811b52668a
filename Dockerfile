# One image for every part: the portal, Prefect's server and worker, and the bundled pipelines.

FROM python:3.13-slim AS build
WORKDIR /app
RUN python -m venv /venv
ENV PATH=/venv/bin:$PATH PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
COPY requirements.lock ./
RUN pip install --require-hashes --requirement requirements.lock
COPY manage.py pyproject.toml ./
COPY flows flows
COPY runs runs
COPY portal portal
COPY docs docs
# These keys are made for this step alone: collecting files needs settings that start, not secrets.
RUN PORTAL_SECRET_KEY=$(python -c "import secrets; print(secrets.token_urlsafe(60))") \
    PORTAL_FIELD_KEYS=$(python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())") \
    PORTAL_AUDIT_KEYS=$(python -c "import secrets; print(secrets.token_urlsafe(48))") \
    PORTAL_TOKEN_PEPPERS=1:$(python -c "import secrets; print(secrets.token_urlsafe(48))") \
    python manage.py collectstatic --noinput

FROM python:3.13-slim
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin portal \
    && install --directory --owner portal --group portal /lake
COPY --from=build /venv /venv
COPY --from=build /app /app
WORKDIR /app
# Only /tmp can be written to, so everything that wants a home finds it there.
ENV PATH=/venv/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
USER 10001:10001
EXPOSE 8000
CMD ["uvicorn", "portal.asgi:application", "--host", "0.0.0.0", "--port", "8000", "--workers", "2", "--http", "portal.ops.http_protocol:HTTPProtocol", "--timeout-graceful-shutdown", "3", "--no-server-header"]
