"""What a definition holds, what it hides, and what in it moves."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flows import definition
from tests.fakes import records

KEY = b"key of an environment"
CANARY = "opensesame-1234"
SHA = "0123456789abcdef0123456789abcdef01234567"
DIGEST = f"registry.example/app@sha256:{'a' * 64}"
CLONE = "prefect.deployments.steps.git_clone"


def describe(template: dict[str, Any] | None = None, **fields: Any) -> definition.Definition:
    return definition.describe(records.deployment(**fields), template or {}, key=KEY)


def fingerprint(template: dict[str, Any] | None = None, **fields: Any) -> str:
    return definition.fingerprint(describe(template, **fields))


def clone(**arguments: Any) -> tuple[dict[str, Any], ...]:
    return ({CLONE: {"repository": "https://git.example/x", **arguments}},)


@pytest.mark.parametrize(
    "change",
    [
        {"entrypoint": "other.py:flow"},
        {"path": "/elsewhere"},
        {"pull_steps": clone(branch="main")},
        {"pull_steps": clone(access_token=CANARY)},
        {"storage_document_id": records.deployment().id},
        {"infrastructure_document_id": records.deployment().id},
        {"work_pool_name": "other"},
        {"work_queue_name": "other"},
        {"job_variables": {"env": {"A": CANARY}}},
        {"job_variables": {"image": DIGEST}},
        {"template": {"variables": {"properties": {"env": {"default": {"A": "b"}}}}}},
        {"enforces_schema": False},
        {"parameter_schema": {"type": "object", "properties": {"a": {}}}},
        {"parameter_defaults": {"a": 1}},
        {"version": "2"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_part_is_in_the_fingerprint(change: dict[str, Any]) -> None:
    assert fingerprint(**change) != fingerprint()


@pytest.mark.parametrize(
    "other",
    [
        {"is_paused": True},
        {"tags": ("new",)},
        {"status": "NOT_READY"},
        {"description": "new"},
        {"concurrency_limit": 1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_does_not_change_what_runs_is_not_in_it(other: dict[str, Any]) -> None:
    assert fingerprint(**other) == fingerprint()


def test_a_changed_value_shows_and_no_value_is_in_it() -> None:
    def secretive(value: str) -> definition.Definition:
        return describe(
            {"variables": {"properties": {"env": {"default": {"B": value}}}}},
            job_variables={"env": {"API_KEY": value}, "command": f"run --token {value}", "list": [value], "on": True},
            parameter_defaults={"token": value, "nested": {"inner": value}},
            pull_steps=(
                {CLONE: {"repository": f"https://me:{value}@git.example/x?t={value}", "access_token": value}},
                {"prefect.deployments.steps.run_shell_script": {"script": f"curl -H {value}", "env": {"A": value}}},
            ),
        )

    before, after = secretive(CANARY), secretive("another")
    assert CANARY not in json.dumps(before)
    was, is_now = definition.difference(before, after)
    assert set(was) == {"job_variables", "parameter_defaults", "pull_steps", "base_job_template"}
    # What did not change is not in the difference.
    assert set(is_now["job_variables"]) == {"env", "command", "list"}
    assert "git.example/x" in json.dumps(before["pull_steps"])


@pytest.mark.parametrize(
    "place",
    [
        lambda deep: {"job_variables": {"a": deep}},
        lambda deep: {"parameter_defaults": {"a": deep}},
        lambda deep: {"pull_steps": ({CLONE: {"branch": deep}},)},
        lambda deep: {"pull_steps": ({CLONE: deep},)},
        lambda deep: {"template": {"job_configuration": deep}},
    ],
)
def test_no_depth_keeps_a_change_from_being_noticed(place: Any) -> None:
    def deep(leaf: object) -> Any:
        value: Any = leaf
        for level in range(3000):
            value = {"a": value} if level % 2 else [value]
        return {"a": value}

    assert fingerprint(**place(deep(1))) == fingerprint(**place(deep(1)))
    assert fingerprint(**place(deep(1))) != fingerprint(**place(deep(2)))


def test_only_what_is_derived_is_left_out_of_a_difference() -> None:
    before, after = (describe(job_variables={"moving": value, "env": {"moving": value}}) for value in (1, 2))
    was, is_now = definition.difference(before, after)
    assert set(was) == set(is_now) == {"job_variables"}
    assert set(was["job_variables"]) == {"moving", "env"}


def test_the_same_value_has_another_hash_in_another_environment() -> None:
    record = records.deployment(job_variables={"key": CANARY})
    one, other = (definition.describe(record, {}, key=key)["job_variables"] for key in (b"dev", b"prod"))
    assert one != other


POOL_WITH_IMAGE = {
    "job_configuration": {"image": "{{ image }}"},
    "variables": {"properties": {"image": {"default": "registry.example/app:latest"}}},
}
KUBERNETES = {"job_configuration": {"job_manifest": {"spec": {"containers": [{"image": "registry.example/app:1"}]}}}}


@pytest.mark.parametrize(
    ("template", "fields", "kinds"),
    [
        ({}, {"pull_steps": clone(branch="main")}, ["branch"]),
        ({}, {"pull_steps": clone()}, ["branch"]),
        ({}, {"pull_steps": clone(tag="v1")}, ["tag"]),
        ({}, {"pull_steps": clone(commit_sha=SHA)}, []),
        ({}, {"pull_steps": clone(commit_sha="{{ prefect.variables.commit }}")}, ["branch"]),
        ({}, {"pull_steps": clone(commit_sha=SHA), "job_variables": {"image": "app:1"}}, ["image"]),
        ({}, {"pull_steps": ({"prefect.deployments.steps.set_working_directory": {"directory": "/a"}},)}, ["path"]),
        ({}, {"pull_steps": ({"prefect_aws.deployments.steps.pull_from_s3": {"bucket": "b"}},)}, ["storage"]),
        ({}, {"pull_steps": ({"prefect.deployments.steps.run_shell_script": {"script": "x"}},)}, ["step"]),
        ({}, {"path": "/srv/flows", "entrypoint": "a.py:f"}, ["path"]),
        ({}, {"storage_document_id": records.deployment().id}, ["storage"]),
        (POOL_WITH_IMAGE, {}, ["image"]),
        (POOL_WITH_IMAGE, {"job_variables": {"image": DIGEST}}, []),
        (KUBERNETES, {}, ["image"]),
    ],
)
def test_what_prefect_resolves_later_is_named(
    template: dict[str, Any], fields: dict[str, Any], kinds: list[str]
) -> None:
    found = describe(template, **fields)["moving"]
    assert [each["kind"] for each in found] == kinds


def test_a_branch_and_a_path_are_named_an_image_is_not() -> None:
    assert describe(pull_steps=clone(branch="main"))["moving"] == [{"kind": "branch", "name": "main"}]
    assert describe(path="/srv")["moving"] == [{"kind": "path", "name": "/srv"}]
    image = describe(job_variables={"image": f"registry.example/{CANARY}:1"})["moving"]
    assert image == [{"kind": "image", "name": "job variable image"}]
