"""One spelling for one thing: the known slips of the sales desk, put right."""

import pandas as pd

from flows.crm.table_schema import SHAPES, Tables, typed

# table, column -> as it is written -> as it is meant
SPELLINGS: dict[tuple[str, str], dict[str, str]] = {
    ("sales_pipeline", "product"): {"GTXPro": "GTX Pro"},
    ("accounts", "sector"): {"technolgy": "technology"},
    ("accounts", "office_location"): {"Philipines": "Philippines"},
}


def misspelt(tables: Tables, table: str, column: str) -> pd.Series:
    return tables[table][column].isin(SPELLINGS[table, column].keys())


def clean(tables: Tables) -> Tables:
    """The same rows with known misspellings put right and runs of spaces made one."""
    cleaned = {name: frame.copy() for name, frame in tables.items()}
    for name, frame in cleaned.items():
        for column, kind in SHAPES[name].columns.items():
            if kind == "text":
                spaced = frame[column].str.split().str.join(" ").astype(object)
                tidy = spaced.replace(SPELLINGS.get((name, column), {}))
                frame[column] = tidy.where(tidy.notna(), None)
    return {name: typed(SHAPES[name].columns, frame) for name, frame in cleaned.items()}


def count_corrections(tables: Tables) -> dict[str, int]:
    """How many cells each spelling changes, such as {"GTXPro -> GTX Pro": 1480}."""
    return {
        f"{wrong} -> {right}": int((tables[table][column] == wrong).sum())
        for (table, column), spellings in SPELLINGS.items()
        for wrong, right in spellings.items()
    }
