"""A flow with a parameter of every kind, to try the run form with."""

import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, Optional

from prefect import flow, get_run_logger
from pydantic import BaseModel, Field, SecretStr
from pydantic_core import to_jsonable_python


# pydantic writes Enum as a reference, Literal as an inline enum, nested models as definitions: one parameter for each.
class Colour(Enum):
    RED = "red"
    AMBER = "amber"
    GREEN = "green"


class Address(BaseModel):
    street: str = Field(description="Street and number.")
    city: str = Field(default="Vienna", description="Town or city.")
    floor: Annotated[int, Field(ge=-5, le=200, description="Storey; 0 is the ground floor.")] = 0


class Contact(BaseModel):
    name: str = Field(min_length=1, description="Name of the contact.")
    address: Address = Field(default=Address(street="Ring 1"), description="Address of the contact.")
    reachable: bool = Field(default=True, description="Whether the contact is reachable.")


@flow(name="every-parameter-kind")
def every_parameter_kind(
    code: Annotated[str, Field(pattern=r"^[A-Z]{2}-[0-9]{3}$", examples=["AB-123"])],
    password: SecretStr,
    count: Annotated[int, Field(ge=1, le=1000)] = 100,
    share: Annotated[float, Field(gt=0, lt=1)] = 0.25,
    dry_run: bool = True,
    day: date = date(2017, 3, 31),
    moment: datetime = datetime(2017, 3, 31, 12, tzinfo=UTC),
    clock: time = time(6, 30),
    patience: timedelta = timedelta(minutes=5),
    colour: Colour = Colour.AMBER,
    size: Literal["small", "medium", "large"] = "medium",
    limit: Optional[int] = None,  # noqa: UP045 - one of the ways in which flows are written
    note: str | None = None,
    labels: list[str] = ["first", "second"],  # noqa: B006 - Prefect copies defaults into the schema
    contacts: list[Contact] = [Contact(name="Ada")],  # noqa: B006, B008
    weights: dict[str, int] = {"north": 1, "south": 2},  # noqa: B006
    office: Address = Address(street="Quay 7", city="Trieste"),  # noqa: B008
    reference: int | str = 7,
    price: Decimal = Decimal("19.90"),
) -> dict[str, Any]:
    """Accept a parameter of every kind, and log the received values.

    Args:
        code: Two capital letters, a hyphen and three digits, such as AB-123.
        password: Any text; it is never displayed.
        count: A whole number from 1 to 1000.
        share: A number between 0 and 1.
        dry_run: Has no effect; the flow never changes anything.
        day: A date.
        moment: A date and time with a time zone.
        clock: A time.
        patience: A duration.
        colour: One of three colours.
        size: One of three sizes.
        limit: A whole number, optional.
        note: A text, optional.
        labels: A list of texts.
        contacts: A list of people, each with an address.
        weights: Whole numbers by name.
        office: An address.
        reference: A number or text.
        price: An exact amount, such as 19.90.
    """
    shown: dict[str, Any] = to_jsonable_python(dict(locals()))  # also masks the password
    get_run_logger().info("Received:\n%s", json.dumps(shown, indent=2))
    return shown
