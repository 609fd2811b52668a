"""Corrections of known misspellings in the CRM tables."""

from flows.crm.table_schema import SHAPES, Tables, typed

# table, column -> misspelling -> correct spelling
SPELLINGS: dict[tuple[str, str], dict[str, str]] = {
    ("sales_pipeline", "product"): {"GTXPro": "GTX Pro"},
    ("accounts", "sector"): {"technolgy": "technology"},
    ("accounts", "office_location"): {"Philipines": "Philippines"},
}


def clean(tables: Tables) -> Tables:
    """Return the same rows with known misspellings corrected and runs of spaces collapsed."""
    cleaned = {name: frame.copy() for name, frame in tables.items()}
    for name, frame in cleaned.items():
        for column, kind in SHAPES[name].columns.items():
            if kind == "text":
                spaced = frame[column].str.split().str.join(" ").astype(object)
                tidy = spaced.replace(SPELLINGS.get((name, column), {}))
                # pandas marks a missing text as NaN after these operations; the tables use None.
                frame[column] = tidy.where(tidy.notna(), None)
    return {name: typed(SHAPES[name].columns, frame) for name, frame in cleaned.items()}


def count_corrections(tables: Tables) -> dict[str, int]:
    """Return how many cells each correction changes, such as {"GTXPro -> GTX Pro": 1480}."""
    return {
        f"{wrong} -> {right}": int((tables[table][column] == wrong).sum())
        for (table, column), spellings in SPELLINGS.items()
        for wrong, right in spellings.items()
    }
