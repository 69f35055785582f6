"""A deterministic synthetic B2B software vendor, told as events."""

from .company import Company
from .futures import WinProbability
from .ledger import Event, Row, stamp
from .market import Market
from .switches import Switches
from .truth import DealState, Merge, StageVisit, Subscription

__all__ = [
    "Company",
    "DealState",
    "Event",
    "Market",
    "Merge",
    "Row",
    "StageVisit",
    "Subscription",
    "Switches",
    "WinProbability",
    "stamp",
]
