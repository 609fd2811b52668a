"""What a deployment would run, as one comparable value: the definition that an approval binds.

No database. A definition is built masked: the values of job variables, parameter defaults and credentials in pull steps
are replaced by a keyed hash, so that a change shows and the value does not. A plain form exists nowhere else.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping
from typing import Any, TypedDict
from urllib.parse import urlsplit

from flows import canonical, parameters
from flows.prefect_api.records import JSON, DeploymentRecord

# A definition of another format cannot be compared: raise it when the meaning of a field changes.
FORMAT = 1
PREFIX = "hmac:"
# 64 bits: a collision cannot be searched for without the key.
HASH_DIGITS = 16
# How a hashed value appears inside another text, such as a pull step.
HASHED = re.compile(f"{PREFIX}[0-9a-f]{{{HASH_DIGITS}}}")
# field of a definition -> what people call it
LABELS: dict[str, str] = {
    "entrypoint": "entrypoint",
    "path": "path",
    "pull_steps": "pull steps",
    "storage_document_id": "storage block",
    "infrastructure_document_id": "infrastructure block",
    "work_pool": "work pool",
    "work_queue": "work queue",
    "job_variables": "job variables",
    "base_job_template": "base job template",
    "enforces_schema": "schema enforcement",
    "schema": "parameter schema",
    "parameter_defaults": "default parameters",
    "version": "version",
}
# kind of a moving reference -> what it is called, and what it means for an approval
MOVING: dict[str, tuple[str, str]] = {
    "branch": ("branch {name}", "The commit it points to when the run starts."),
    "tag": ("tag {name}", "A tag can be moved to another commit before the run starts."),
    "path": ("path {name} on the worker", "The files that are there when the run starts."),
    "storage": ("storage ({name})", "The files that it holds when the run starts."),
    "step": ("pull step {name}", "The result of a command that is run when the run starts."),
    "image": ("image without a digest ({name})", "The image that its tag points to when the run starts."),
}
# Objects in job variables below this depth are hashed as a whole.
DEEPEST = 20
# Arguments of pull steps that say which code is fetched. All others are hashed: they may be credentials or scripts.
PLAIN_ARGUMENTS = frozenset(
    {
        *("repository", "branch", "tag", "commit_sha", "include_submodules", "directory", "directories"),
        *("clone_directory_name", "bucket", "container", "folder", "block_type_slug", "block_document_name"),
    }
)
# Last part of a pull step's name -> what it fetches. Other steps run a command, or fetch from storage.
GIT_STEPS = frozenset({"git_clone", "agit_clone"})
DIRECTORY_STEP = "set_working_directory"
STORAGE_STEP = "pull_"
# Prefect fills these in when the run starts, so a value with one in it is not fixed.
PLACEHOLDER = "{{"


class Moving(TypedDict):
    """A reference that Prefect resolves when the run starts. `kind` is branch, tag, path, storage, step or image."""

    kind: str
    name: str


class Definition(TypedDict):
    """What an approval is for. Every value in it may be stored and displayed."""

    format: int
    entrypoint: str
    path: str
    pull_steps: list[dict[str, Any]]
    storage_document_id: str
    infrastructure_document_id: str
    work_pool: str
    work_queue: str
    job_variables: dict[str, Any]
    base_job_template: str
    enforces_schema: bool
    schema: str
    parameter_defaults: dict[str, Any]
    version: str
    moving: list[Moving]


def describe(record: DeploymentRecord, template: Mapping[str, JSON], *, key: bytes) -> Definition:
    """Return the definition of a deployment; `template` is the base job template of its work pool."""
    return Definition(
        format=FORMAT,
        entrypoint=record.entrypoint,
        path=record.path,
        pull_steps=[mask_step(step, key) for step in record.pull_steps],
        storage_document_id=str(record.storage_document_id or ""),
        infrastructure_document_id=str(record.infrastructure_document_id or ""),
        work_pool=record.work_pool_name,
        work_queue=record.work_queue_name,
        job_variables={name: mask_leaves(value, key) for name, value in record.job_variables.items()},
        # Hashed with the key too: the defaults of its variables may be secret, and short.
        base_job_template=hashed(template, key),
        enforces_schema=record.enforces_schema,
        schema=parameters.fingerprint(record.parameter_schema),
        # All of them, not only those the schema marks as secret: a redeploy may drop the mark and keep the value.
        parameter_defaults={name: mask_leaves(value, key) for name, value in record.parameter_defaults.items()},
        version=record.version,
        moving=list(moving(record, template)),
    )


def fingerprint(definition: Definition | Mapping[str, Any]) -> str:
    """Return the SHA-256 of a definition in hexadecimal."""
    return canonical.digest(without_moving(definition))


def without_moving(definition: Mapping[str, Any]) -> dict[str, Any]:
    """Return the definition without what is derived from it, which a later release may derive in another way."""
    return {name: value for name, value in definition.items() if name != "moving"}


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the fields that differ, before and after; of objects only the keys that differ."""
    return differing(without_moving(before), without_moving(after))


def differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    was: dict[str, Any] = {}
    is_now: dict[str, Any] = {}
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if canonical.same(old, new):
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            inner_was, inner_now = differing(old, new)
            was |= {name: inner_was} if inner_was else {}
            is_now |= {name: inner_now} if inner_now else {}
            continue
        # A missing field is left out and not written as null: a job variable can be null.
        was |= {name: old} if name in before else {}
        is_now |= {name: new} if name in after else {}
    return was, is_now


def changed_fields(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the labels of the fields that differ."""
    was, is_now = difference(before, after)
    return [LABELS.get(name, name) for name in sorted({*was, *is_now})]


def moving_label(moving: Mapping[str, Any]) -> str:
    """Return what a moving reference is called."""
    label, _ = MOVING.get(str(moving.get("kind")), ("{name}", ""))
    return label.format(name=moving.get("name") or "(default)")


def moving_meaning(moving: Mapping[str, Any]) -> str:
    """Return what is not known yet when a run with this reference is approved."""
    return MOVING.get(str(moving.get("kind")), ("", ""))[1]


def is_masked(value: object) -> bool:
    return isinstance(value, str) and value.startswith(PREFIX)


def without_hashes(value: Any) -> Any:
    """Return a part of a definition with each hash replaced by the mask of secrets."""
    if isinstance(value, Mapping):
        return {name: without_hashes(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [without_hashes(inner) for inner in value]
    return HASHED.sub(parameters.MASK, value) if isinstance(value, str) else value


def hashed(value: object, key: bytes) -> str:
    try:
        spelled = canonical.text(value)
    except RecursionError:
        # Otherwise a person who deploys could make every reading fail, and so hide a change.
        spelled = canonical.text(list(tokens(value)))
    return PREFIX + hmac.new(key, spelled.encode(), hashlib.sha256).hexdigest()[:HASH_DIGITS]


def tokens(value: object) -> Iterator[object]:
    """Yield names, sizes and leaves of JSON of any depth, in an order that depends on its content alone."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, Mapping):
            names = sorted(each)
            yield ["object", names]
            waiting += [each[name] for name in names]
        elif isinstance(each, list):
            yield ["list", len(each)]
            waiting += each
        else:
            yield each


def mask_leaves(value: JSON, key: bytes, depth: int = 0) -> Any:
    """Return the value with each leaf hashed; the names in objects stay, a list is one leaf."""
    if isinstance(value, dict) and value and depth < DEEPEST:
        return {name: mask_leaves(inner, key, depth + 1) for name, inner in value.items()}
    return hashed(value, key)


def mask_step(step: Mapping[str, JSON], key: bytes) -> dict[str, Any]:
    """Return a pull step with everything hashed but its name and what says which code it fetches."""
    return {
        name: {argument: mask_argument(argument, value, key) for argument, value in given.items()}
        if isinstance(given, dict)
        else hashed(given, key)
        for name, given in step.items()
    }


def mask_argument(name: str, value: JSON, key: bytes) -> Any:
    is_plain = name in PLAIN_ARGUMENTS and all(
        not isinstance(each, dict | list) for each in (value if isinstance(value, list) else [value])
    )
    if not is_plain:
        return mask_leaves(value, key)
    return without_credentials(value, key) if name == "repository" else value


def without_credentials(value: JSON, key: bytes) -> JSON:
    """Return an address with its user, password and query hashed; they may be credentials."""
    if not isinstance(value, str):
        return hashed(value, key)
    try:
        parts = urlsplit(value)
    except ValueError:
        return hashed(value, key)
    userinfo, at, host = parts.netloc.rpartition("@")
    if at:
        parts = parts._replace(netloc=f"{hashed(userinfo, key)}@{host}")
    if parts.query:
        parts = parts._replace(query=hashed(parts.query, key))
    return parts.geturl()


def moving(record: DeploymentRecord, template: Mapping[str, JSON]) -> Iterator[Moving]:
    """Yield the references that Prefect resolves when the run starts: what is approved is not yet what they will be."""
    places = list(images(record.job_variables, template))
    # 1. Where the code comes from.
    for step in record.pull_steps:
        for name, given in step.items():
            yield from moving_step(name, given if isinstance(given, dict) else {}, has_image=bool(places))
    if not record.pull_steps and record.storage_document_id:
        yield Moving(kind="storage", name=f"block {record.storage_document_id}")
    elif not record.pull_steps and not places:
        yield Moving(kind="path", name=record.path or record.entrypoint)
    # 2. The image that it runs in. Its name is the value of a job variable, so only the place is named.
    yield from (Moving(kind="image", name=place) for place, image in places if not is_pinned(image))


def moving_step(name: str, given: Mapping[str, JSON], *, has_image: bool) -> Iterator[Moving]:
    short = name.rpartition(".")[2]
    if short in GIT_STEPS:
        commit = given.get("commit_sha")
        if not isinstance(commit, str) or not commit or PLACEHOLDER in commit:
            kind = "tag" if given.get("tag") else "branch"
            yield Moving(kind=kind, name=str(given.get("tag") or given.get("branch") or ""))
    elif short == DIRECTORY_STEP:
        # A directory inside an image is as fixed as the image.
        if not has_image:
            yield Moving(kind="path", name=str(given.get("directory") or ""))
    else:
        yield Moving(kind="storage" if short.startswith(STORAGE_STEP) else "step", name=short)


def images(variables: Mapping[str, JSON], template: Mapping[str, JSON]) -> Iterator[tuple[str, JSON]]:
    """Yield where the image of the job is named, and the image; "" if it is the worker's own default."""
    properties = template.get("variables")
    properties = properties.get("properties") if isinstance(properties, dict) else None
    variable = properties.get("image") if isinstance(properties, dict) else None
    if "image" in variables:
        yield "job variable image", variables["image"]
    elif isinstance(variable, dict):
        yield "work pool", variable.get("default") or ""
    # An image may also be written into the job itself, past the variable.
    for image in literals(template.get("job_configuration")):
        yield "work pool", image


def with_profile(found: Mapping[str, Any], profile: Mapping[str, Any]) -> dict[str, Any]:
    """Return a definition with the image that a resource profile sets, if it is not fixed, among what is moving.

    `profile` has its name and job_variables; empty, it changes nothing. The fingerprint stays: the profile is in the
    digest of its own.
    """
    variables = profile.get("job_variables", {})
    if "image" not in variables or is_pinned(variables["image"]):
        return dict(found)
    image = Moving(kind="image", name=f"resource profile {profile['name']}")
    return {**found, "moving": [*found.get("moving", []), image]}


def literals(configuration: JSON) -> Iterator[str]:
    """Yield the values of every "image" in a job configuration that are not placeholders of a variable."""
    waiting = [configuration]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            image = each.get("image")
            if isinstance(image, str) and image and PLACEHOLDER not in image:
                yield image
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each


def is_pinned(image: JSON) -> bool:
    return isinstance(image, str) and "@sha256:" in image and PLACEHOLDER not in image
