"""Labels and texts that hurt: a layer over the plain ones, for tests.

Labels that are shared, empty, padded, very long, or those of standard columns; markup, formulas,
line breaks and control characters; text in many alphabets.
"""

from __future__ import annotations

from collections.abc import Mapping

from .custom_fields import Plan
from .fields import Options

__all__ = [
    "FIRST_NAMES",
    "LAST_NAMES",
    "LOST_REASONS",
    "ODD_TITLES",
    "ORG_HEADS",
    "ORG_MIDDLES",
    "PRODUCT_NAMES",
    "STANDARD_OPTIONS",
    "plans",
]

_LONG_LABEL = (
    "Please describe, in the words of the customer, why the project that we are going to help with "
    "matters to them this year and who would notice first if it never happened at all, ok??"
)
_LABELS: Mapping[str, Mapping[str, str]] = {
    "deal": {
        "Budget owner": "Region",
        "Project name": "title",
        "Current spend per user": "value",
        "Procurement": "Status",
        "Contract draft": "status",
        "Referred by": "",
        "Onboarding hours": " ",
        "Launch date": "🚀 Launch date",
        "Why now": 'He said "now"',
        "Main concern": "Причина",
        "Office": "地域",
        "Integration": "<script>alert('hi')</script>",
        "Business case": _LONG_LABEL,
        "Hosting": "  Padded label  ",
        "Competing offer": "Budget",
        "Payment terms": "Currency of Budget",
        "Event": "Lead source detail",
        "Data volume (GB)": "Employees in scope",
        "Tender number": "=1+1",
        "Next steps": "Next steps, with\nline break",
    },
    "person": {"Department": "name", "Nickname": "Nickname 🐻"},
    "organization": {
        "Billing contact": "VAT number",
        "Delivery notes": "address",
        "Account notes": "Ettevõtte märkus",
    },
    "product": {"Product line": "name"},
    "project": {"Steering group": "title"},
}
_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "Main concern": ("Цена", "Сроки", "Другое"),
    "Modules of interest": ("Core", "Analytics", "Integrations", "Mobile", "Analytics"),
}
_IMPORTED = tuple(
    Plan(f"Imported {n:02}", ("varchar", "text", "double", "date")[n % 4]) for n in range(1, 19)
)
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
STANDARD_OPTIONS: Options = {
    ("deal", "label_ids"): (
        (11, "Hot"),
        (12, "Warm"),
        (13, "Cold"),
        (14, "Hot"),
        (15, "Strategic ⭐"),
    ),
    ("deal", "lost_reason"): tuple(
        (x, x)
        for x in (
            "Price",
            "Chose a competitor",
            "No budget",
            "No decision",
            "Missing feature",
            "Went silent",
        )
    ),
}
PRODUCT_NAMES: Mapping[str, str] = {
    "AI assistant": "AI assistant 🤖",
    "Process design workshop": "Workshop “process design”",
    "Label printer": "Printer <label>",
    "Discounted bundle": "=Discounted bundle",
}
LOST_REASONS = (
    "Price",
    "Chose a competitor",
    "No budget",
    "No decision",
    "Missing feature",
    "Went silent",
    "went silent",
    "Timing 🤷",
)
FIRST_NAMES = (
    "Mari",
    "Jaan",
    "Sophie",
    "Lukas",
    "Emma",
    "Noah",
    "Olga",
    "Иван",
    "Yuki",
    "Chloé",
    "Seán",
    "Priya",
    "Ahmed",
    "Zoë",
    "Marta",
    "Łukasz",
)
LAST_NAMES = (
    "Mägi",
    "Schmidt",
    "Jones",
    "Korhonen",
    "Ivanova",
    "Петров",
    "田中",
    "Dubois",
    "O'Neill",
    "Patel",
    "Hansen",
    "Müller-Lüdenscheidt",
    "Brown",
    "Rossi",
)
ORG_HEADS = (
    "Nord",
    "Baltic",
    "Alpha",
    "Green",
    "Blue",
    "Rapid",
    "Urban",
    "Silver",
    "Prime",
    "Kivi",
    "Stein",
    "Hanse",
    "Thames",
    "Lone Star",
    "Polar",
    "Vega",
)
ORG_MIDDLES = (
    "soft",
    "logistics",
    "foods",
    "metal",
    "health",
    "finance",
    "retail",
    "energy",
    "design",
    "print",
    "trade",
    "motors",
    "media",
    "labs",
)
ODD_TITLES = (
    "=SUM(A1)",
    'Anfrage über "Kontaktformular" 🚀',
    "<b>URGENT</b> <script>alert(1)</script>",
    "Pricing?\nPlease call back",
    "+1-800-CALL-ME",
    "見積もり依頼",
    "Заявка с сайта «Цены»",
    "'; DROP TABLE deals; --",
    "   need 20 seats   ",
    "@mention, tab\there",
)


def plans(plain: Mapping[str, tuple[Plan, ...]]) -> dict[str, tuple[Plan, ...]]:
    """Return the plans of custom fields with hostile labels, options and words."""
    result = {
        entity: tuple(
            plan._replace(
                name=_LABELS.get(entity, {}).get(plan.name, plan.name),
                options=_OPTIONS.get(plan.name, plan.options),
                words=_WORDS,
                named_parts=plan.name != "Contract period",
            )
            for plan in rows
        )
        for entity, rows in plain.items()
    }
    return result | {"deal": result["deal"] + _IMPORTED}
