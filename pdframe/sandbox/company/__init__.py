"""A deterministic synthetic B2B software vendor, told as events."""

from .company import Company
from .ledger import Event, Row, stamp
from .switches import Switches
from .truth import StageVisit, Subscription

__all__ = ["Company", "Event", "Row", "StageVisit", "Subscription", "Switches", "stamp"]
