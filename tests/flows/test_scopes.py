"""Where a deployment belongs, for any scopes: never in two environments, and nowhere else without a confirmation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows import scopes
from flows.scopes import Features, Kind, Placement, Scope

# Few letters, so that random names and patterns meet.
NAMES = st.text("ab/", max_size=6)
PATTERNS = st.text("ab/*", min_size=1, max_size=6)
FEW = st.sampled_from("abc")
SCOPES = st.one_of(
    st.builds(Scope, st.just(Kind.SERVER)),
    st.builds(Scope, st.sampled_from([Kind.POOLS, Kind.TAGS]), st.lists(FEW, max_size=2).map(tuple)),
    st.builds(Scope, st.just(Kind.NAMES), st.lists(PATTERNS, max_size=2).map(tuple)),
)
SERVERS = st.dictionaries(st.integers(1, 4), SCOPES, max_size=4)
FEATURES = st.builds(Features, NAMES, FEW, st.frozensets(FEW))
KEYS = st.none() | st.integers(1, 5)


@given(PATTERNS, NAMES)
def test_a_star_stands_for_any_characters(pattern: str, name: str) -> None:
    expression = ".*".join(map(re.escape, pattern.split("*")))
    assert scopes.matches(pattern, name) == bool(re.fullmatch(expression, name, re.DOTALL))


@given(PATTERNS, PATTERNS, NAMES)
def test_patterns_that_share_no_name_match_no_common_name(one: str, other: str, name: str) -> None:
    assert scopes.can_share(one, other) == scopes.can_share(other, one)
    if not scopes.can_share(one, other):
        assert not (scopes.matches(one, name) and scopes.matches(other, name))


@given(st.text("ab*", min_size=1, max_size=3), st.text("ab*", min_size=1, max_size=3))
def test_patterns_that_can_share_a_name_do(one: str, other: str) -> None:
    names = ("".join(letters) for length in range(7) for letters in product("ab", repeat=length))
    assert scopes.can_share(one, other) == any(scopes.matches(one, n) and scopes.matches(other, n) for n in names)


@given(SERVERS, FEATURES, KEYS, st.frozensets(st.integers(1, 5)), KEYS)
def test_a_deployment_is_settled_only_where_its_one_scope_is(
    server: Mapping[int, Scope], features: Features, home: int | None, earlier: frozenset[int], confirmed: int | None
) -> None:
    found = scopes.scope_of(features, server, home=home, earlier=earlier, confirmed=confirmed)
    inside = [key for key, scope in server.items() if scopes.covers(scope, features)]
    if found.is_settled:
        assert inside == [found.environment]
        # It was there before, or nowhere else, or somebody confirmed it.
        assert found.environment in (home, confirmed) or (home is None and earlier <= {found.environment})
    else:
        assert found.environment == home


@given(SCOPES, SCOPES, FEATURES)
def test_scopes_that_may_stand_together_share_a_deployment_by_tags_only(
    one: Scope, other: Scope, features: Features
) -> None:
    if not scopes.overlap(one, other) and scopes.covers(one, features) and scopes.covers(other, features):
        assert Kind.TAGS in (one.kind, other.kind)


@pytest.mark.parametrize(
    ("one", "other", "is_refused"),
    [
        (Scope(Kind.SERVER), Scope(Kind.TAGS, ("a",)), True),
        (Scope(Kind.POOLS, ("a", "b")), Scope(Kind.POOLS, ("b",)), True),
        (Scope(Kind.POOLS, ("a",)), Scope(Kind.POOLS, ("b",)), False),
        (Scope(Kind.NAMES, ("dev-*",)), Scope(Kind.NAMES, ("prod-*",)), False),
        (Scope(Kind.NAMES, ("dev-*",)), Scope(Kind.NAMES, ("*-etl",)), True),
        (Scope(Kind.NAMES, ("dev-*",)), Scope(Kind.POOLS, ("prod",)), True),
        (Scope(Kind.TAGS, ("dev",)), Scope(Kind.TAGS, ("dev", "prod")), True),
        (Scope(Kind.TAGS, ("dev",)), Scope(Kind.TAGS, ("prod",)), False),
        (Scope(Kind.TAGS, ("dev",)), Scope(Kind.POOLS, ("prod",)), False),
    ],
)
def test_which_scopes_can_stand_together(one: Scope, other: Scope, is_refused: bool) -> None:
    assert bool(scopes.overlap(one, other)) == bool(scopes.overlap(other, one)) == is_refused


@pytest.mark.parametrize(
    ("scope", "is_refused"),
    [
        (Scope(Kind.SERVER), False),
        (Scope(Kind.SERVER, ("a",)), True),
        (Scope(Kind.POOLS), True),
        (Scope(Kind.POOLS, ("a",)), False),
        (Scope(Kind.TAGS, ("a", "a")), True),
        (Scope(Kind.TAGS, (" a",)), True),
        (Scope(Kind.TAGS, ("a\x00",)), True),
        (Scope(Kind.NAMES, ("a" * 301,)), True),
        (Scope(Kind.NAMES, tuple(map(str, range(101)))), True),
    ],
)
def test_which_values_a_scope_can_have(scope: Scope, is_refused: bool) -> None:
    assert bool(scopes.mistake(scope)) == is_refused


def test_a_tag_that_is_added_moves_nothing_by_itself() -> None:
    server = {1: Scope(Kind.TAGS, ("dev",)), 2: Scope(Kind.TAGS, ("prod",))}
    before, both, after = (Features("f/d", "p", frozenset(tags)) for tags in (["prod"], ["prod", "dev"], ["dev"]))
    assert scopes.scope_of(before, server) == Placement(2, True)
    assert scopes.scope_of(both, server, home=2) == Placement(2, False)
    assert scopes.scope_of(after, server, home=2) == Placement(2, False)
    assert scopes.scope_of(after, server, home=2, confirmed=1) == Placement(1, True)
    # Confirmed for dev, and changed once more before it was read.
    assert scopes.scope_of(both, server, home=2, confirmed=1) == Placement(2, False)
    # It was in both scopes before it was in any environment.
    assert scopes.scope_of(after, server, earlier=[1, 2]) == Placement(None, False)
