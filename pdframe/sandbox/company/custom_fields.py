"""The custom fields that this company's users made over the years, and the values they type into
them.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha1
from typing import Any, NamedTuple

from .clock import DAY, TIMEZONE, day_text
from .rows import ADDRESS_PARTS


class Plan(NamedTuple):
    """A custom field to create: its label, type, options, and the share of rows that get a value at
    birth.
    """

    name: str
    kind: str
    share: float = 0.0
    options: tuple[str, ...] = ()
    named_parts: bool = True
    twin: bool = False  # its hash shares the first six digits with the field before it


LONG_LABEL = (
    "Please describe, in the words of the customer, why the project that we are going to help with "
    "matters to them this year and who would notice first if it never happened at all, ok??"
)
REGIONS = ("Nordics & Baltics", "DACH", "UK & Ireland", "North America")
COMPETITORS = (
    "Hubly",
    "Salesdesk",
    "Zoomer CRM",
    "In-house spreadsheet",
    "Freshpipe",
    "Copperfield",
    "Nimbletop",
    "Insightful",
)
USE_CASES = ("Use case", "Use case (2025)", "Primary use case", "Use-Case")

DEAL: tuple[Plan, ...] = (
    Plan("Region", "enum", 0.45, REGIONS),
    Plan("Region", "varchar", 0.06),
    Plan("title", "varchar", 0.03),
    Plan("value", "double", 0.04),
    Plan("Status", "enum", 0.08, ("On hold", "Waiting for legal", "Verbal yes")),
    Plan("status", "varchar", 0.02),
    Plan("", "varchar", 0.02),
    Plan(" ", "double", 0.02),
    Plan("🚀 Launch date", "date", 0.08),
    Plan('He said "now"', "text", 0.03),
    Plan("Причина", "enum", 0.05, ("Цена", "Сроки", "Другое")),
    Plan("地域", "varchar", 0.03),
    Plan("<script>alert('hi')</script>", "varchar", 0.02),
    Plan(LONG_LABEL, "text", 0.03),
    Plan("  Padded label  ", "varchar", 0.03),
    Plan("Budget", "monetary", 0.12),
    Plan("Budget", "monetary", 0.04),
    Plan("Currency of Budget", "varchar", 0.02),
    Plan("Lead source detail", "varchar", 0.05),
    Plan("Lead source detail", "varchar_auto", 0.05, twin=True),
    Plan("Contract period", "daterange", 0.07, named_parts=False),
    Plan("Trial period", "daterange", 0.06),
    Plan("Call window", "timerange", 0.05),
    Plan("Best time to call", "time", 0.06),
    Plan("Site address", "address", 0.05),
    Plan("Direct line", "phone", 0.06),
    Plan("Employees in scope", "double", 0.09),
    Plan("Competitor", "enum", 0.2, COMPETITORS[:5]),
    Plan(
        "Modules of interest",
        "set",
        0.15,
        ("Core", "Analytics", "Integrations", "Mobile", "Analytics"),
    ),
    Plan("Solution engineer", "user", 0.1),
    Plan("Partner", "org", 0.06),
    Plan("Champion", "people", 0.08),
    Plan("Source campaign", "varchar_auto", 0.1),
    Plan("Use case", "varchar", 0.12),
    Plan("=1+1", "varchar", 0.01),
    Plan("Next steps, with\nline break", "text", 0.04),
    Plan(
        "Deal type",
        "enum",
        0.0,
        ("New business", "Renewal", "Expansion", "Contraction", "Win-back", "Services"),
    ),
    Plan("Cancellation date", "date"),
    *(Plan(f"Imported {n:02}", ("varchar", "text", "double", "date")[n % 4]) for n in range(1, 19)),
)
PERSON: tuple[Plan, ...] = (
    Plan("Region", "enum", 0.2, REGIONS),
    Plan("name", "varchar", 0.02),
    Plan("Role in decision", "set", 0.2, ("Buyer", "User", "Influencer")),
    Plan("Assistant", "people", 0.03),
    Plan("Preferred time", "time", 0.05),
    Plan("Mobile (private)", "phone", 0.05),
    Plan("Nickname 🐻", "varchar"),
    Plan("Consent", "daterange", 0.05),
    Plan("Account manager", "user", 0.05),
)
ORGANIZATION: tuple[Plan, ...] = (
    Plan("Segment", "enum", 0.8, ("Small business", "Mid-market", "Enterprise")),
    Plan("Region", "enum", 0.7, REGIONS),
    Plan("Credit limit", "monetary", 0.1),
    Plan("Billing address", "address", 0.1),
    Plan("Parent company", "org", 0.05),
    Plan("VAT number", "varchar", 0.3),
    Plan("address", "text", 0.02),
    Plan("Opening hours", "timerange", 0.04),
    Plan("Ettevõtte märkus", "text", 0.03),
)
PRODUCT: tuple[Plan, ...] = (
    Plan("Price floor", "monetary", 0.3),
    Plan("Sold to", "set", 0.5, ("Small business", "Mid-market", "Enterprise")),
    Plan("name", "varchar", 0.1),
    Plan("End of sale", "date", 0.1),
    Plan("Product owner", "user", 0.3),
)
ACTIVITY: tuple[Plan, ...] = (
    Plan("Status", "enum", 0.0, ("Not Started", "In Progress", "Completed")),
    Plan("Travel cost", "double"),
)
PROJECT: tuple[Plan, ...] = (
    Plan("Category", "enum", 0.4, ("Internal", "External", "Research")),
    Plan("Go-live", "date", 0.3),
    Plan("Consultant", "user", 0.3),
    Plan("title", "varchar", 0.05),
    Plan("Budgeted hours", "double", 0.3),
)
PLANS = {
    "deal": DEAL,
    "person": PERSON,
    "organization": ORGANIZATION,
    "product": PRODUCT,
    "activity": ACTIVITY,
    "project": PROJECT,
}

_WORDS = (
    "roll-out",
    "Q3 budget",
    "pilot",
    "IT security review",
    "new CFO",
    "merger",
    "ISO audit",
    "waiting for tender",
    "двигаемся",
    "試用中",
    "café",
    'the "big" one',
)
_CITIES = (
    ("Tallinn", "Estonia", "Pärnu mnt", "10141"),
    ("München", "Germany", "Leopoldstraße", "80331"),
    ("Leeds", "United Kingdom", "Park Row", "LS1 5HD"),
    ("Austin", "United States", "Congress Ave", "78701"),
    ("Helsinki", "Finland", "Mannerheimintie", "00100"),
)


def code_of(seed: int, entity: str, number: int) -> str:
    """Return the 40 hex digits that name the entity's custom field of this number."""
    return sha1(f"{seed}/{entity}/{number}".encode(), usedforsecurity=False).hexdigest()


def codes(seed: int, entity: str) -> list[str]:
    """Return the codes of the entity's planned fields; a twin begins like the field before it."""
    result: list[str] = []
    for number, plan in enumerate(PLANS[entity], 1):
        code = code_of(seed, entity, number)
        result.append(result[-1][:6] + code[6:] if plan.twin else code)
    return result


def address(draw: Callable[[], float]) -> dict[str, Any]:
    """Draw an address whose parts are partly null and partly absent."""
    city, country, street, code = _CITIES[int(draw() * len(_CITIES))]
    number = str(1 + int(draw() * 180))
    value: dict[str, Any] = {
        "value": f"{street} {number}, {city}, {country}",
        "country": country,
        "locality": city,
    }
    if draw() < 0.6:
        value |= {"route": street, "street_number": number, "postal_code": code, "subpremise": None}
    if draw() < 0.3:
        value |= {
            "admin_area_level_1": None,
            "admin_area_level_2": None,
            "sublocality": "Kesklinn" if city == "Tallinn" else None,
        }
    return value


def full_address(draw: Callable[[], float]) -> dict[str, Any]:
    """Draw an address as the standard address columns hold it: every part present, some null."""
    drawn = address(draw)
    return {key: drawn.get(key) for key in ADDRESS_PARTS}


def draw_value(kind: str, now: int, draw: Callable[[], float]) -> Any:
    """Draw a value of a type that needs neither options nor links, in the wire's shape."""
    day = now // DAY
    if kind in ("varchar", "varchar_auto"):
        return _WORDS[int(draw() * len(_WORDS))]
    if kind == "text":
        gap = "\n" if draw() < 0.2 else " - "
        return f"{_WORDS[int(draw() * len(_WORDS))]}{gap}{_WORDS[int(draw() * len(_WORDS))]}"
    if kind == "double":
        return round(draw() * 500, 2) if draw() < 0.5 else int(draw() * 900)
    if kind == "phone":
        return f"+372 {5_000_000 + int(draw() * 999_999)}"
    if kind == "date":
        return day_text(day + int(draw() * 300))
    if kind == "daterange":
        start = day + int(draw() * 60)
        return {"value": day_text(start), "until": day_text(start + 30 + int(draw() * 330))}
    if kind == "time":
        clock = f"{8 + int(draw() * 10):02}:{int(draw() * 4) * 15:02}:00"
        return clock if draw() < 0.4 else {"value": clock, "timezone_name": TIMEZONE}
    if kind == "timerange":
        hour = 8 + int(draw() * 6)
        return {
            "value": f"{hour:02}:00:00",
            "until": f"{hour + 2:02}:30:00",
            "timezone_name": TIMEZONE,
        }
    if kind == "monetary":
        return {
            "value": int(draw() * 400) * 50 + (0.5 if draw() < 0.1 else 0),
            "currency": ("EUR", "EUR", "USD", "GBP")[int(draw() * 4)],
        }
    if kind == "address":
        return address(draw)
    raise ValueError(f"No value can be drawn for a field of type {kind!r}.")
