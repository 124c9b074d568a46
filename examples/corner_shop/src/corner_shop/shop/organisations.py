"""The two tenants of the demo."""

from __future__ import annotations

from dataclasses import dataclass
from zoneinfo import ZoneInfo

__all__ = ["ORGANISATIONS", "Organisation"]


@dataclass(frozen=True)
class Organisation:
    """A tenant and how its pages speak.

    Attributes:
        till: What it calls the place where money is taken.
        customers, products: What it calls those, in the plural.
    """

    id: str
    name: str
    strapline: str
    monogram: str
    currency: str
    zone: ZoneInfo
    till: str
    customers: str
    customer: str
    products: str
    product: str


ORGANISATIONS = {
    organisation.id: organisation
    for organisation in (
        Organisation(
            id="corner-shop",
            name="The Corner Shop",
            strapline="Groceries, coffee and small repairs",
            monogram="CS",
            currency="GBP",
            zone=ZoneInfo("Europe/London"),
            till="Till",
            customers="Customers",
            customer="Customer",
            products="Products",
            product="Product",
        ),
        Organisation(
            id="harbour-clinic",
            name="Harbour Clinic",
            strapline="Physiotherapy and family medicine",
            monogram="HC",
            currency="EUR",
            zone=ZoneInfo("Europe/Dublin"),
            till="Front desk",
            customers="Patients",
            customer="Patient",
            products="Services",
            product="Service",
        ),
    )
}
