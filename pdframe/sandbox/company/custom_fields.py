"""The custom fields that this company's users made over the years, and the values they type into
them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha1
from typing import Any, NamedTuple

from .clock import DAY, TIMEZONE, day_text
from .rows import ADDRESS_PARTS


class Plan(NamedTuple):
    """A custom field to create: its label, type, options, the share of rows that get a value at
    birth, and what people type into it where it is a text.
    """

    name: str
    kind: str
    share: float = 0.0
    options: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    named_parts: bool = True
    twin: bool = False  # its hash shares the first six digits with the field before it


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
# What is typed into a text of a deal must be one of exactly twelve words: two companies whose words
# differ in number would see different edits that change nothing.
_OWNERS = (
    "CEO",
    "CFO",
    "COO",
    "CIO",
    "Head of Sales",
    "Head of Finance",
    "Head of IT",
    "Head of Operations",
    "Managing director",
    "Procurement",
    "Regional manager",
    "Board",
)
_PROJECTS = (
    "CRM replacement",
    "Sales process renewal",
    "Field sales roll-out",
    "Data clean-up",
    "Reporting for the board",
    "Partner programme",
    "Quote automation",
    "Service desk merger",
    "New market entry",
    "Customer portal",
    "Forecasting",
    "Sales onboarding",
)
_DRAFTS = (
    "Sent",
    "With their legal team",
    "With our legal team",
    "Redlines received",
    "Redlines accepted",
    "Waiting for data processing terms",
    "Waiting for the order form",
    "Ready to sign",
    "Signed by us",
    "Signed by the customer",
    "Standard terms",
    "Framework agreement",
)
_REFERRERS = (
    "Existing customer",
    "Former colleague",
    "Partner",
    "Investor",
    "Board member",
    "Consultant",
    "Accountant",
    "Trade association",
    "Supplier",
    "Alumni network",
    "Community forum",
    "Employee",
)
_REASONS = (
    "New CFO wants one forecast",
    "Contract with the old vendor ends",
    "Merger needs one pipeline",
    "Budget must be spent this year",
    "Audit asked for a clean history",
    "Team doubles next quarter",
    "New country office opens",
    "Spreadsheet has become too slow",
    "Board asks for weekly figures",
    "Two key sellers have left",
    "Customers wait too long for quotes",
    "Security review of all tools",
)
_OFFICES = (
    "Tallinn",
    "Helsinki",
    "Stockholm",
    "Munich",
    "Vienna",
    "Zurich",
    "London",
    "Dublin",
    "Leeds",
    "Boston",
    "Austin",
    "Toronto",
)
_SYSTEMS = (
    "SAP",
    "Microsoft Dynamics",
    "NetSuite",
    "Xero",
    "QuickBooks",
    "DATEV",
    "Odoo",
    "Slack",
    "Microsoft Teams",
    "Zendesk",
    "Power BI",
    "Own system",
)
_BENEFITS = (
    "Saves two hours a seller a week",
    "Replaces three tools",
    "Shortens quotes from days to hours",
    "One forecast for all regions",
    "Fewer lost renewals",
    "Shows the margin before signature",
    "Half the onboarding time",
    "Clean data for the auditors",
    "Partners see their own deals",
    "No more double entry",
    "Better hit rate on tenders",
    "Meets the customer's security rules",
)
_HOSTING = (
    "EU cloud",
    "UK cloud",
    "US cloud",
    "Swiss cloud",
    "Own data centre",
    "Private cloud",
    "Any region",
    "EU cloud, own keys",
    "US cloud, own keys",
    "Customer's cloud account",
    "Partner's data centre",
    "Not decided",
)
_TERMS = (
    "14 days",
    "30 days",
    "45 days",
    "60 days",
    "90 days",
    "In advance",
    "Quarterly in advance",
    "Yearly in advance",
    "End of month",
    "10 days, 2 % discount",
    "On delivery",
    "Purchase order needed",
)
_SOURCES = (
    "Google search",
    "LinkedIn post",
    "Newsletter",
    "Comparison site",
    "Conference talk",
    "Partner page",
    "Podcast",
    "Free trial",
    "Customer story",
    "Cold call",
    "Review site",
    "Recommended",
)
_EVENTS = (
    "Spring webinar",
    "Autumn webinar",
    "Sales Summit",
    "SaaS Nordic",
    "Partner day",
    "User conference",
    "Trade fair, hall 4",
    "Breakfast seminar",
    "Product launch",
    "Demo day",
    "Industry dinner",
    "Open house",
)
_CAMPAIGNS = (
    "Forecast guide",
    "Renewal check-list",
    "Switch in a week",
    "Year-end offer",
    "Referral bonus",
    "Field sales",
    "Manufacturing",
    "Financial services",
    "Start-up plan",
    "Win-back",
    "Analytics launch",
    "Brand",
)
_USES = (
    "New sales pipeline",
    "Renewals",
    "Partner sales",
    "Field sales",
    "Inside sales",
    "Service quotes",
    "Tenders",
    "Key accounts",
    "Lead qualification",
    "Order entry",
    "Reporting",
    "Project hand-over",
)
_TENDERS = tuple(f"T-2{number:03}" for number in range(117, 957, 70))
_STEPS = (
    "Send the revised quote",
    "Call the buyer",
    "Book the second demo",
    "Meet the IT team",
    "Share a reference",
    "Agree on the start date",
    "Wait for the budget",
    "Answer the security questions",
    "Send the contract",
    "Invite the CFO",
    "Plan the pilot",
    "Review the pilot",
)
_DEPARTMENTS = ("Sales", "Finance", "IT", "Operations", "Procurement", "Management")
_NOTES = (
    "Prefers calls in the morning",
    "Invoices go to the parent company",
    "Two offices, one contract",
    "Long procurement process",
    "Happy to give references",
    "Needs a purchase order number",
)

DEAL: tuple[Plan, ...] = (
    Plan("Region", "enum", 0.45, REGIONS),
    Plan("Budget owner", "varchar", 0.06, words=_OWNERS),
    Plan("Project name", "varchar", 0.03, words=_PROJECTS),
    Plan("Current spend per user", "double", 0.04),
    Plan("Procurement", "enum", 0.08, ("On hold", "Waiting for legal", "Verbal yes")),
    Plan("Contract draft", "varchar", 0.02, words=_DRAFTS),
    Plan("Referred by", "varchar", 0.02, words=_REFERRERS),
    Plan("Onboarding hours", "double", 0.02),
    Plan("Launch date", "date", 0.08),
    Plan("Why now", "text", 0.03, words=_REASONS),
    Plan("Main concern", "enum", 0.05, ("Price", "Timing", "Other")),
    Plan("Office", "varchar", 0.03, words=_OFFICES),
    Plan("Integration", "varchar", 0.02, words=_SYSTEMS),
    Plan("Business case", "text", 0.03, words=_BENEFITS),
    Plan("Hosting", "varchar", 0.03, words=_HOSTING),
    Plan("Budget", "monetary", 0.12),
    Plan("Competing offer", "monetary", 0.04),
    Plan("Payment terms", "varchar", 0.02, words=_TERMS),
    Plan("Lead source detail", "varchar", 0.05, words=_SOURCES),
    Plan("Event", "varchar_auto", 0.05, words=_EVENTS, twin=True),
    Plan("Contract period", "daterange", 0.07),
    Plan("Trial period", "daterange", 0.06),
    Plan("Call window", "timerange", 0.05),
    Plan("Best time to call", "time", 0.06),
    Plan("Site address", "address", 0.05),
    Plan("Direct line", "phone", 0.06),
    Plan("Data volume (GB)", "double", 0.09),
    Plan("Competitor", "enum", 0.2, COMPETITORS[:5]),
    Plan(
        "Modules of interest", "set", 0.15, ("Core", "Analytics", "Integrations", "Mobile", "API")
    ),
    Plan("Solution engineer", "user", 0.1),
    Plan("Partner", "org", 0.06),
    Plan("Champion", "people", 0.08),
    Plan("Source campaign", "varchar_auto", 0.1, words=_CAMPAIGNS),
    Plan("Use case", "varchar", 0.12, words=_USES),
    Plan("Tender number", "varchar", 0.01, words=_TENDERS),
    Plan("Next steps", "text", 0.04, words=_STEPS),
    Plan(
        "Deal type",
        "enum",
        0.0,
        ("New business", "Renewal", "Expansion", "Contraction", "Win-back", "Services"),
    ),
    Plan("Cancellation date", "date"),
)
PERSON: tuple[Plan, ...] = (
    Plan("Region", "enum", 0.2, REGIONS),
    Plan("Department", "varchar", 0.02, words=_DEPARTMENTS),
    Plan("Role in decision", "set", 0.2, ("Buyer", "User", "Influencer")),
    Plan("Assistant", "people", 0.03),
    Plan("Preferred time", "time", 0.05),
    Plan("Mobile (private)", "phone", 0.05),
    Plan("Nickname", "varchar"),
    Plan("Consent", "daterange", 0.05),
    Plan("Account manager", "user", 0.05),
)
ORGANIZATION: tuple[Plan, ...] = (
    Plan("Segment", "enum", 0.8, ("Small business", "Mid-market", "Enterprise")),
    Plan("Region", "enum", 0.7, REGIONS),
    Plan("Credit limit", "monetary", 0.1),
    Plan("Billing address", "address", 0.1),
    Plan("Parent company", "org", 0.05),
    Plan("Billing contact", "varchar", 0.3, words=_DEPARTMENTS),
    Plan("Delivery notes", "text", 0.02, words=_NOTES),
    Plan("Opening hours", "timerange", 0.04),
    Plan("Account notes", "text", 0.03, words=_NOTES),
)
PRODUCT: tuple[Plan, ...] = (
    Plan("Price floor", "monetary", 0.3),
    Plan("Sold to", "set", 0.5, ("Small business", "Mid-market", "Enterprise")),
    Plan("Product line", "varchar", 0.1, words=("Platform", "Add-ons", "Services", "Devices")),
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
    Plan("Steering group", "varchar", 0.05, words=_OWNERS),
    Plan("Budgeted hours", "double", 0.3),
)
PLANS: Mapping[str, tuple[Plan, ...]] = {
    "deal": DEAL,
    "person": PERSON,
    "organization": ORGANIZATION,
    "product": PRODUCT,
    "activity": ACTIVITY,
    "project": PROJECT,
}

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


def named(seed: int, entity: str, name: str) -> str:
    """Return the code under which the entity's plan of that name is created."""
    return code_of(seed, entity, [plan.name for plan in PLANS[entity]].index(name) + 1)


def codes(seed: int, entity: str, plans: Sequence[Plan]) -> list[str]:
    """Return the codes of these fields of an entity; a twin begins like the field before it."""
    result: list[str] = []
    for number, plan in enumerate(plans, 1):
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


def draw_value(
    kind: str,
    now: int,
    draw: Callable[[], float],
    words: Sequence[str],
    joined: Callable[[str, str, bool], str],
) -> Any:
    """Draw a value of a type that needs neither options nor links, in the wire's shape.

    A text is two of the words; `joined` takes them and whether to split them.
    """
    day = now // DAY
    if kind in ("varchar", "varchar_auto"):
        return words[int(draw() * len(words))]
    if kind == "text":
        split = draw() < 0.2
        first, last = words[int(draw() * len(words))], words[int(draw() * len(words))]
        return joined(first, last, split)
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
