"""Stratified, deterministic samples of deals."""

import hashlib

import pandas as pd

from flows.crm.failures import BadChoice

SMALLEST, LARGEST = 100, 5000
STRATA = ("outcome", "product")
ABOUT = "about.json"  # the document beside a stored sample


def require_size(size: object) -> int:
    """Return the size; raise `BadChoice` unless it is a whole number within the bounds."""
    if isinstance(size, bool) or not isinstance(size, int) or not SMALLEST <= size <= LARGEST:
        raise BadChoice(f"sample_size is {size!r}: choose a whole number from {SMALLEST} to {LARGEST}.")
    return size


def outcome(deals: pd.DataFrame) -> pd.Series:
    return deals["won"].map({True: "won", False: "lost"}).astype(object).fillna("open")


def stratified(deals: pd.DataFrame, size: int, month: str) -> pd.DataFrame:
    """Return a sample with won, lost and open deals of every product in proportion. Raises `BadChoice`."""
    if size > len(deals):
        raise BadChoice(
            f"{month} has {len(deals)} engaged deals, and sample_size is {size}: "
            f"choose a sample_size of at most {len(deals)}, or a later month."
        )
    strata = deals.assign(outcome=outcome(deals)).groupby(list(STRATA), sort=True).indices
    exact = {name: len(rows) * size / len(deals) for name, rows in strata.items()}
    taken = {name: int(share) for name, share in exact.items()}
    # The remainder of rounding down goes to the strata that lost most by it; ties are decided by name.
    for name in sorted(exact, key=lambda name: (taken[name] - exact[name], name))[: size - sum(taken.values())]:
        taken[name] += 1
    # Ranked by a hash of the identifier: neither the order of the table nor other deals change which are sampled.
    ranks = deals["opportunity_id"].map(lambda name: hashlib.blake2b(str(name).encode(), digest_size=8).digest())
    picked: list[int] = []
    for name, rows in strata.items():
        picked += sorted(rows, key=lambda row: ranks.iloc[row])[: taken[name]]
    return deals.iloc[sorted(picked)].reset_index(drop=True)
