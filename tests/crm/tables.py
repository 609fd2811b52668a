"""A handful of CRM tables, small enough to read, with every wrinkle of the real ones."""

from datetime import date
from pathlib import Path

from flows.crm import csv_reader
from flows.crm.table_schema import SHAPES, Tables

TODAY = date(2018, 1, 1)

CSV: dict[str, str] = {
    "accounts": (
        "account,sector,year_established,revenue,employees,office_location,subsidiary_of\n"
        "Acorn,retail,1996,1100.04,2822,United States,\n"
        "Beech,technolgy,2001,87.5,14,Philipines,Acorn\n"
    ),
    "products": "product,series,sales_price\nGTX Pro,GTX,4821\nMG Special,MG,55\n",
    "sales_teams": "sales_agent,manager,regional_office\nAda,Olga,East\nBo,Olga,East\nIdle,Pim,West\n",
    "sales_pipeline": (
        "opportunity_id,sales_agent,product,account,deal_stage,engage_date,close_date,close_value\n"
        "D5,Bo,MG Special,,Prospecting,,,\n"
        "D1,Ada,GTXPro,Acorn,Won,2017-01-10,2017-02-01,4800\n"
        "D2,Ada,MG Special,Beech,Lost,2017-01-20,2017-03-05,0\n"
        "D3,Bo,GTXPro,Beech,Won,2017-02-15,2017-04-02,4900\n"
        "D4,Ada,MG Special,null,Engaging,2017-03-31,,0\n"
        "D6,Bo,MG Special,Acorn,Won,2017-04-01,2017-04-20,60\n"
    ),
}


def write(folder: Path, **changed: str) -> Path:
    for name, text in {**CSV, **changed}.items():
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    return folder


def tables(**changed: str) -> Tables:
    texts = {**CSV, **changed}
    return {name: csv_reader.parse(f"{name}.csv", texts[name].encode(), shape, TODAY) for name, shape in SHAPES.items()}


def deals(*rows: str) -> str:
    """The text of sales_pipeline.csv with these rows alone."""
    return "\n".join([CSV["sales_pipeline"].splitlines()[0], *rows, ""])
