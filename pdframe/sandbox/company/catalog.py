"""What the company consists of before its first customer: people, pipelines, products, boards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

ME = 1003
# id, name, skill at winning, pace; the token's user leads sales and carries no deals.
USERS: tuple[tuple[int, str, float, float], ...] = (
    (1003, "Kadri Tamm", 1.0, 1.0),
    (1010, "Jonas Weber", 1.35, 1.15),
    (1014, "Aino Virtanen", 1.2, 1.0),
    (1017, "Oliver Smith", 0.7, 0.8),
    (1021, "Maria García", 1.05, 1.2),
    (1022, "Liis Kask", 0.9, 1.0),
    (1025, "Tom O'Brien", 0.6, 0.7),
    (1031, "Elena Sokolova", 1.5, 1.3),
    (1033, "Kenji Yamada", 1.0, 0.9),
    (1036, "Anna Nowak", 0.85, 1.1),
    (1040, "Björn Åkesson", 1.1, 0.95),
    (1044, "Grace Lee", 1.25, 1.05),
    (1047, "Peeter Saar", 0.75, 0.85),
)
LEAVERS = (1017, 1036)


class Stage(NamedTuple):
    """A stage and how deals behave in it: median stay in days, hazard of losing on leaving it,
    chance of winning from the last one.
    """

    id: int
    name: str
    probability: int
    rot_days: int | None
    median_days: float
    lose: float


class Pipeline(NamedTuple):
    """A pipeline with its stages in order."""

    id: int
    name: str
    has_probability: bool
    stages: tuple[Stage, ...]


NEW, GROWTH, SERVICES = 2, 5, 1
PIPELINES: tuple[Pipeline, ...] = (
    Pipeline(
        NEW,
        "New business",
        True,
        (
            Stage(7, "Qualified", 10, 14, 9.0, 0.20),
            Stage(3, "Discovery", 25, 21, 13.0, 0.16),
            Stage(12, "Demo", 40, None, 11.0, 0.12),
            Stage(4, "Proposal", 60, 30, 17.0, 0.13),
            Stage(9, "Negotiation", 80, 30, 20.0, 0.20),
        ),
    ),
    Pipeline(
        GROWTH,
        "Renewals & growth",
        False,
        (
            Stage(11, "Review", 100, None, 15.0, 0.03),
            Stage(2, "Offer", 100, 45, 16.0, 0.05),
            Stage(8, "Signature", 100, None, 9.0, 0.06),
        ),
    ),
    Pipeline(
        SERVICES,
        "Services",
        True,
        (
            Stage(6, "Scoping", 30, 20, 8.0, 0.08),
            Stage(1, "Estimate", 50, None, 10.0, 0.12),
            Stage(10, "Approval", 75, 15, 12.0, 0.10),
            Stage(5, "Kick-off call", 100, None, 6.0, 0.05),
        ),
    ),
)
SEGMENTS = ("Small business", "Mid-market", "Enterprise")
CURRENCY_OF_REGION = ("EUR", "EUR", "GBP", "USD")
RATES = {"EUR": 1.0, "USD": 1.1, "GBP": 0.86}
SEASON = (1.05, 1.0, 1.15, 1.0, 1.0, 0.9, 0.7, 0.65, 1.2, 1.15, 1.1, 0.75)
BOARDS = (
    (4, "Onboarding", ("Kick-off", "Configuration", "Training", "Go-live")),
    (9, "Service delivery", ("Planned", "In delivery", "Acceptance")),
)
TEMPLATES = (
    (3, "Standard onboarding", 4),
    (5, "Enterprise onboarding", 4),
    (8, "Service engagement", 9),
)
TASKS = ("Collect requirements", "Set up workspace", "Import data", "Train key users", "Sign off")

# name, frequency, cycles, price, tax
_RECURRING: tuple[tuple[str, str, int | None, float, float], ...] = (
    ("Core, per seat", "monthly", None, 24.0, 22),
    ("Core, yearly plan", "annually", 1, 240.0, 22),
    ("Core, three-year plan", "annually", 3, 216.0, 22),
    ("Analytics", "monthly", None, 12.5, 22),
    ("Analytics, yearly", "annually", None, 129.0, 22),
    ("Integrations hub", "quarterly", None, 180.0, 22),
    ("Integrations hub, term", "quarterly", 8, 165.0, 22),
    ("Mobile field pack", "monthly", 12, 9.99, 22),
    ("Priority support", "semi-annually", None, 450.0, 22),
    ("Priority support, two years", "semi-annually", 4, 420.0, 22),
    ("Managed data feed", "weekly", 52, 35.0, 22),
    ("Weekly coaching", "weekly", 12, 110.0, 22),
    ("Sandbox environment", "monthly", 6, 75.0, 0),
    ("Dedicated hosting", "monthly", 24, 320.0, 22),
    ("E-signature add-on", "monthly", None, 6.0, 22),
    ("Storage pack 1 TB", "annually", None, 99.95, 22),
    ("Compliance archive", "annually", 2, 599.95, 22),
    ("API call bundle", "quarterly", 4, 60.0, 0),
    ("Premium SLA", "monthly", 36, 210.0, 22),
    ("Partner portal", "monthly", None, 49.0, 22),
    ("AI assistant", "monthly", None, 15.0, 22),
    ("Seasonal seats", "weekly", 26, 8.0, 22),
)
_ONE_TIME: tuple[tuple[str, float, float], ...] = (
    ("Implementation, small", 1500.0, 22),
    ("Implementation, large", 9800.0, 22),
    ("Data migration", 2400.0, 22),
    ("Training day", 950.0, 22),
    ("Process design workshop", 1800.0, 22),
    ("Custom integration", 6500.0, 22),
    ("Security review", 3200.0, 22),
    ("Consulting hour", 140.0, 22),
    ("Set-up fee", 199.0, 22),
    ("Barcode scanner", 189.9, 22),
    ("Tablet, rugged", 499.0, 22),
    ("Label printer", 259.0, 22),
    ("Travel flat rate", 250.0, 0),
    ("Report pack", 700.0, 22),
    ("Go-live support", 1250.0, 22),
    ("Certification exam", 120.0, 0),
    ("Legacy export", 880.0, 22),
    ("Discounted bundle", 400.0, 22),
)


def products(names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the 40 products as values for rows, recurring ones first; `names` are other names of
    some.
    """
    rows: list[dict[str, Any]] = []
    recurring = [
        (name, frequency, cycles, price, tax, "1" if i < 4 else "2")
        for i, (name, frequency, cycles, price, tax) in enumerate(_RECURRING)
    ]
    single = [
        (
            name,
            "one-time",
            None,
            price,
            tax,
            "4" if "scanner" in name or "Tablet" in name or "printer" in name else "3",
        )
        for name, price, tax in _ONE_TIME
    ]
    for index, (name, frequency, cycles, price, tax, category) in enumerate([*recurring, *single]):
        shown = names.get(name, name)
        rows.append(
            {
                "name": shown,
                "code": f"P-{index + 1:03}" if index % 7 else None,
                "description": f"{shown}, as sold." if index % 3 else None,
                "unit": "seat" if "seat" in name.lower() else ("hour" if "hour" in name else ""),
                "tax": tax,
                "category": category if index % 9 else None,
                "billing_frequency": frequency,
                "billing_frequency_cycles": cycles,
                "price": price,
            }
        )
    return rows
