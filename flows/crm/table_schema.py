"""The schema of the CRM tables: their columns, the kind of each, and its types in pandas and Parquet."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
import pyarrow as pa

Kind = Literal["text", "whole", "number", "date", "flag"]
Columns = Mapping[str, Kind]
Tables = dict[str, pd.DataFrame]


@dataclass(frozen=True, slots=True)
class Shape:
    identifier: str
    columns: Columns


SHAPES: dict[str, Shape] = {
    "accounts": Shape(
        "account",
        {
            "account": "text",
            "sector": "text",
            "year_established": "whole",
            "revenue": "number",
            "employees": "whole",
            "office_location": "text",
            "subsidiary_of": "text",
        },
    ),
    "products": Shape("product", {"product": "text", "series": "text", "sales_price": "number"}),
    "sales_teams": Shape("sales_agent", {"sales_agent": "text", "manager": "text", "regional_office": "text"}),
    "sales_pipeline": Shape(
        "opportunity_id",
        {
            "opportunity_id": "text",
            "sales_agent": "text",
            "product": "text",
            "account": "text",
            "deal_stage": "text",
            "engage_date": "date",
            "close_date": "date",
            "close_value": "number",
        },
    ),
}

# Every type is nullable, so that a month with an empty column has the same types as every other month.
IN_PANDAS: dict[Kind, Any] = {
    "text": "object",
    "whole": "Int64",
    "number": "float64",
    "date": "datetime64[ns]",
    "flag": "boolean",
}
IN_PARQUET: dict[Kind, pa.DataType] = {
    "text": pa.string(),
    "whole": pa.int64(),
    "number": pa.float64(),
    "date": pa.date32(),
    "flag": pa.bool_(),
}


def typed(columns: Columns, values: Mapping[str, Any] | pd.DataFrame) -> pd.DataFrame:
    """Return a frame with exactly these columns, in this order, in the types above."""
    return pd.DataFrame({name: pd.Series(values[name]).astype(IN_PANDAS[kind]) for name, kind in columns.items()})


def to_arrow(frame: pd.DataFrame, columns: Columns) -> pa.Table:
    """Return an Arrow table without pandas' metadata: it names library versions, and would change the bytes."""
    schema = pa.schema([(name, IN_PARQUET[kind]) for name, kind in columns.items()])
    table = pa.Table.from_pandas(frame[list(columns)], schema=schema, preserve_index=False)
    return table.replace_schema_metadata(None)


def to_pandas(table: pa.Table) -> pd.DataFrame:
    """Return the frame that `to_arrow` was given, in the same types."""
    # By default pandas would read whole numbers with gaps as floats, and flags with gaps as objects.
    nullable = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
    frame: pd.DataFrame = table.to_pandas(types_mapper=nullable.get, date_as_object=False)
    dates = {field.name: IN_PANDAS["date"] for field in table.schema if field.type == pa.date32()}
    return frame.astype(dates)
