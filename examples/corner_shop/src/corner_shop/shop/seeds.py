"""What the two tenants start with. Planting twice changes nothing."""

from __future__ import annotations

import random
from datetime import datetime, time, timedelta

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from corner_shop.shop.columns import now
from corner_shop.shop.models import Booking, Customer, Employee, Product, Sale, SaleItem
from corner_shop.shop.organisations import ORGANISATIONS, Organisation

__all__ = ["EMPLOYEES", "plant"]

# id, name, e-mail, title, role
EMPLOYEES = {
    "corner-shop": [
        ("employee-rosa", "Rosa Lindqvist", "rosa@corner-shop.example", "Owner", "owner"),
        ("employee-tom", "Tom Okafor", "tom@corner-shop.example", "Shop manager", "admin"),
        ("employee-mina", "Mina Patel", "mina@corner-shop.example", "Sales assistant", "member"),
    ],
    "harbour-clinic": [
        ("employee-aoife", "Dr Aoife Brennan", "aoife@harbour-clinic.example", "Practice owner", "owner"),
        ("employee-jonas", "Jonas Weber", "jonas@harbour-clinic.example", "Practice manager", "admin"),
        ("employee-clara", "Clara Nunes", "clara@harbour-clinic.example", "Physiotherapist", "member"),
    ],
}

# id, name, e-mail, phone, notes
_CUSTOMERS = {
    "corner-shop": [
        ("customer-amara", "Amara Nwosu", "amara.nwosu@post.example", "020 7946 0101", "Likes oat milk kept aside."),
        ("customer-ben", "Ben Hartley", "ben@hartley.example", "020 7946 0102", ""),
        ("customer-chloe", "Chloé Martin", "chloe.martin@post.example", None, "Orders flowers for Fridays."),
        ("customer-david", "David Yıldız", None, "020 7946 0104", ""),
        ("customer-elena", "Elena Petrova", "elena@petrova.example", "020 7946 0105", "Invoices to the book club."),
        ("customer-farid", "Farid Rahimi", "farid.r@post.example", "020 7946 0106", ""),
        ("customer-grace", "Grace O’Neill", "grace@oneill.example", None, ""),
    ],
    "harbour-clinic": [
        ("patient-henrik", "Henrik Sørensen", "henrik@post.example", "01 555 0131", "Knee, left."),
        ("patient-iris", "Iris Kelly", "iris.kelly@post.example", "01 555 0132", ""),
        ("patient-jamal", "Jamal Haddad", "jamal@haddad.example", None, "Prefers mornings."),
        ("patient-katya", "Katya Ivanenko", "katya@post.example", "01 555 0134", ""),
        ("patient-liam", "Liam Byrne", None, "01 555 0135", "Needs step-free access."),
        ("patient-maria", "María Gutiérrez", "maria.g@post.example", "01 555 0136", ""),
    ],
}

# id, name, SKU, category, price, stock, minutes, description
_PRODUCTS = {
    "corner-shop": [
        ("product-flat-white", "Flat white", "COF-01", "Coffee", 3.40, None, None, "Two shots, roasted next door."),
        ("product-filter", "Filter coffee", "COF-02", "Coffee", 2.60, None, None, "Whatever is on the board today."),
        ("product-beans", "House beans, 250 g", "COF-10", "Coffee", 9.80, 18, None, "Roasted on Mondays."),
        ("product-sourdough", "Sourdough loaf", "BAK-01", "Bakery", 4.20, 12, None, "Baked at five; gone by two."),
        ("product-cinnamon", "Cinnamon bun", "BAK-02", "Bakery", 2.90, 20, None, "Sticky."),
        ("product-milk", "Oat milk, 1 l", "GRO-01", "Groceries", 2.10, 30, None, "Barista kind."),
        ("product-eggs", "Six free-range eggs", "GRO-02", "Groceries", 2.75, 16, None, "From the Downs."),
        ("product-honey", "Heather honey", "GRO-03", "Groceries", 7.50, 9, None, "One beekeeper, one hill."),
        ("product-chocolate", "Dark chocolate, 70%", "GRO-04", "Groceries", 3.95, 24, None, "Made in Bristol."),
        ("product-tulips", "Tulips, ten stems", "FLO-01", "Flowers", 6.00, 14, None, "In season."),
        ("product-card", "Birthday card", "STA-01", "Stationery", 2.50, 40, None, "Letterpress, blank inside."),
        ("product-puncture", "Puncture repair", "REP-01", "Repairs", 12.00, None, 30, "While you wait."),
    ],
    "harbour-clinic": [
        ("service-consultation", "Consultation", "CON-20", "General", 65.00, None, 20, "With a general practitioner."),
        ("service-first", "First assessment", "PHY-45", "Physiotherapy", 85.00, None, 45, "Examination and plan."),
        ("service-physio", "Physiotherapy session", "PHY-30", "Physiotherapy", 60.00, None, 30, "Follow-up treatment."),
        ("service-sports", "Sports massage", "PHY-50", "Physiotherapy", 70.00, None, 50, "Deep tissue."),
        ("service-vaccination", "Vaccination", "GEN-10", "General", 30.00, None, 10, "Without the vaccine itself."),
        ("service-bloods", "Blood test", "LAB-10", "Laboratory", 45.00, None, 10, "Results within two days."),
        ("service-strapping", "Kinesiology tape", "GDS-01", "Goods", 14.50, 25, None, "Five metres."),
        ("service-band", "Resistance band", "GDS-02", "Goods", 11.00, 18, None, "Medium."),
    ],
}  # fmt: skip

# customer, employee, service, days from today, hour, minute, minutes
_BOOKINGS = {
    "corner-shop": [
        ("customer-ben", "employee-tom", "Puncture repair", 0, 16, 0, 30),
        ("customer-elena", "employee-mina", "Coffee tasting", 1, 10, 30, 60),
        ("customer-grace", "employee-tom", "Puncture repair", 2, 11, 0, 30),
        ("customer-chloe", "employee-mina", "Flower arranging", 4, 15, 0, 90),
    ],
    "harbour-clinic": [
        ("patient-iris", "employee-clara", "Physiotherapy session", 0, 9, 0, 30),
        ("patient-henrik", "employee-clara", "First assessment", 0, 14, 15, 45),
        ("patient-jamal", "employee-aoife", "Consultation", 1, 8, 40, 20),
        ("patient-maria", "employee-aoife", "Blood test", 1, 9, 20, 10),
        ("patient-katya", "employee-clara", "Sports massage", 2, 17, 0, 50),
        ("patient-liam", "employee-aoife", "Vaccination", 5, 10, 0, 10),
    ],
}


async def plant(session: AsyncSession) -> None:
    """Fill the tenants that have nobody in them yet."""
    today = now()
    for organisation in ORGANISATIONS.values():
        count = select(func.count()).select_from(Employee).where(Employee.tenant_id == organisation.id)
        if await session.scalar(count):
            continue
        _people_and_products(session, organisation)
        await session.flush()
        _bookings(session, organisation, today)
        items = _past_sales(session, organisation, today)
        await session.flush()
        session.add_all(items)


def _people_and_products(session: AsyncSession, organisation: Organisation) -> None:
    tenant_id = organisation.id
    for key, name, email, title, role in EMPLOYEES[tenant_id]:
        session.add(Employee(id=key, tenant_id=tenant_id, name=name, email=email, title=title, role=role))
    for key, name, email, phone, notes in _CUSTOMERS[tenant_id]:
        session.add(Customer(id=key, tenant_id=tenant_id, name=name, email=email, phone=phone, notes=notes))
    for key, name, sku, category, price, stock, minutes, description in _PRODUCTS[tenant_id]:
        session.add(
            Product(
                id=key, tenant_id=tenant_id, name=name, sku=sku, category=category, price=price, stock=stock,
                duration_minutes=minutes, description=description,
            )
        )  # fmt: skip


def _bookings(session: AsyncSession, organisation: Organisation, today: datetime) -> None:
    day = today.astimezone(organisation.zone).date()
    for customer, employee, service, days, hour, minute, minutes in _BOOKINGS[organisation.id]:
        starts_at = datetime.combine(day + timedelta(days=days), time(hour, minute), organisation.zone)
        session.add(
            Booking(
                tenant_id=organisation.id, customer_id=customer, employee_id=employee, service=service,
                starts_at=starts_at, duration_minutes=minutes,
            )
        )  # fmt: skip


def _past_sales(session: AsyncSession, organisation: Organisation, today: datetime) -> list[SaleItem]:
    """Six days of trade, so that the dashboard has something to show; the lines, to be added after their sales.

    The same for everyone: the dice are seeded.
    """
    dice = random.Random(organisation.id)  # noqa: S311  # sample data
    prices = {row[0]: (row[1], row[4]) for row in _PRODUCTS[organisation.id]}
    customers = [row[0] for row in _CUSTOMERS[organisation.id]]
    employees = [row[0] for row in EMPLOYEES[organisation.id]]
    items: list[SaleItem] = []
    for days in range(6, 0, -1):
        for turn in range(dice.randint(3, 7)):
            sale_id = f"sale-{organisation.monogram.lower()}-{7 - days}{turn:02}"
            lines = [(key, dice.randint(1, 3)) for key in dice.sample(sorted(prices), dice.randint(1, 3))]
            total = round(sum(prices[key][1] * quantity for key, quantity in lines), 2)
            at = (today - timedelta(days=days)).replace(hour=dice.randint(8, 17), minute=dice.randint(0, 59), second=0)
            session.add(
                Sale(
                    id=sale_id, tenant_id=organisation.id, customer_id=dice.choice([*customers, None]),
                    employee_id=dice.choice(employees), subtotal=total, total=total, currency=organisation.currency,
                    created_at=at,
                )
            )  # fmt: skip
            for key, quantity in lines:
                name, price = prices[key]
                items.append(
                    SaleItem(
                        tenant_id=organisation.id, sale_id=sale_id, product_id=key, name=name, quantity=quantity,
                        unit_price=price,
                    )
                )  # fmt: skip
    return items
