"""Scopes of environments: which deployments of a Prefect server belong to which of the environments on it.

No database. A deployment belongs to the one environment whose scope it is in. If it is in none or in several, or if an
administrator has to confirm first that it moved, it belongs to none of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import product

# Of one scope, and of characters in one value: names of pools, tags and deployments are not longer in Prefect.
MOST_VALUES = 20
LONGEST_VALUE = 300
ANY = "*"


class Kind(StrEnum):
    SERVER = "server"
    POOLS = "pools"
    TAGS = "tags"
    NAMES = "names"


# Two scopes of these kinds can be compared without the deployments; scopes by tag cannot: a deployment can have both.
COMPARABLE = frozenset({Kind.POOLS, Kind.NAMES})


@dataclass(frozen=True, slots=True)
class Scope:
    """What an environment covers of its server; `values` are names of work pools, tags, or patterns of full names."""

    kind: Kind
    values: tuple[str, ...] = ()


WHOLE = Scope(Kind.SERVER)


@dataclass(frozen=True, slots=True)
class Features:
    """What a scope looks at of a deployment; `name` is its full name."""

    name: str
    pool: str
    tags: frozenset[str]


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a deployment belongs: the key of an environment, None for none of them.

    Unless `is_settled`, nothing of it can be run, also where it has an environment: that is the one it was in, which it
    stays in until an administrator confirms where it belongs.
    """

    environment: int | None
    is_settled: bool


def covers(scope: Scope, features: Features) -> bool:
    """Return whether a deployment is in a scope."""
    match scope.kind:
        case Kind.SERVER:
            return True
        case Kind.POOLS:
            return features.pool in scope.values
        case Kind.TAGS:
            return not features.tags.isdisjoint(scope.values)
        case Kind.NAMES:
            return any(matches(pattern, features.name) for pattern in scope.values)


def covering(scopes: Mapping[int, Scope], features: Features) -> frozenset[int]:
    """Return the keys of the environments whose scopes a deployment is in."""
    return frozenset(key for key, scope in scopes.items() if covers(scope, features))


def only(keys: Collection[int]) -> int | None:
    """Return the single key; None if there is none, or more than one."""
    return next(iter(keys)) if len(keys) == 1 else None


def scope_of(
    features: Features,
    scopes: Mapping[int, Scope],
    *,
    home: int | None = None,
    earlier: Collection[int] = (),
    confirmed: int | None = None,
) -> Placement:
    """Return where a deployment belongs, among the active environments of a server.

    `home` is the one of these that it is in now, `earlier` are other environments that it was in, or whose scopes it
    was in, and `confirmed` is where an administrator said that it belongs. Without that it leaves nothing that it was
    in: a changed tag in Prefect must not change its rules.
    """
    target = only(covering(scopes, features))
    is_confirmed = target is not None and target == confirmed
    if home is not None:
        return Placement(target, True) if is_confirmed or target == home else Placement(home, False)
    if target is not None and (is_confirmed or set(earlier) <= {target}):
        return Placement(target, True)
    return Placement(None, False)


# Patterns of names ----------------------------------------------------------------------------------------------------


def matches(pattern: str, name: str) -> bool:
    """Return whether a name has the form of a pattern, in which * stands for any characters, also for none."""
    first, *rest = pattern.split(ANY)
    if not rest:
        return name == pattern
    *middle, last = rest
    if len(name) < len(first) + len(last) or not name.startswith(first) or not name.endswith(last):
        return False
    # The first place at which a part is found leaves the most for the next ones.
    at, end = len(first), len(name) - len(last)
    for part in middle:
        found = name.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


def can_share(one: str, other: str) -> bool:
    """Return whether any name has the form of both patterns."""
    # reached[j]: a name can have the form of the first i characters of one pattern and the first j of the other.
    reached = [True, *([False] * len(other))]
    for j, char in enumerate(other):
        reached[j + 1] = reached[j] and char == ANY
    for mine in one:
        following = [reached[0] and mine == ANY]
        for j, char in enumerate(other):
            if mine == ANY or char == ANY:
                # A * stands for nothing more, or for one more character of the other pattern.
                following.append(reached[j + 1] or following[j] or (mine == char and reached[j]))
            else:
                following.append(reached[j] and mine == char)
        reached = following
    return reached[-1]


# What can stand together ----------------------------------------------------------------------------------------------


def overlap(one: Scope, other: Scope) -> str:
    """Return why a deployment could be in both scopes, as the end of a sentence; empty if that is not known.

    Scopes by tag are compared by the tags that they name only. A deployment that is in two scopes is in no environment,
    so that an overlap opens nothing; this is to find mistakes when a scope is saved.
    """
    if Kind.SERVER in (one.kind, other.kind):
        return "one of them covers the whole server"
    if one.kind == other.kind == Kind.NAMES:
        pairs = [pair for pair in product(one.values, other.values) if can_share(*pair)]
        return "a deployment can have the form of {} and of {}".format(*pairs[0]) if pairs else ""
    if one.kind == other.kind:
        both = sorted(set(one.values) & set(other.values))
        return f"both name {', '.join(both)}" if both else ""
    if one.kind in COMPARABLE and other.kind in COMPARABLE:
        return "a deployment of any name can use any work pool"
    return ""


def mistake(scope: Scope) -> str:
    """Return what is wrong with a scope by itself, as a sentence; empty if nothing is."""
    values = scope.values
    if scope.kind == Kind.SERVER:
        return "A scope of the whole server has no values." if values else ""
    if not values:
        return "Enter at least one value."
    if len(values) > MOST_VALUES:
        return f"Enter at most {MOST_VALUES} values."
    if any(not value or value != value.strip() or not value.isprintable() for value in values):
        return "A value is empty, begins or ends with a space, or contains a character that cannot be displayed."
    if any(len(value) > LONGEST_VALUE for value in values):
        return f"A value can have at most {LONGEST_VALUE} characters."
    if len(set(values)) < len(values):
        return "The same value is entered twice."
    return ""
