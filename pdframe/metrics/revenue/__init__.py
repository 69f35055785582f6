"""Recurring revenue from line items: MRR, ARR, movements, retention and billing."""

from __future__ import annotations

from pdframe.metrics.revenue.billing import billing_schedule
from pdframe.metrics.revenue.committed import committed_mrr
from pdframe.metrics.revenue.lines import mrr_lines
from pdframe.metrics.revenue.months import mrr_customer_months, mrr_schedule
from pdframe.metrics.revenue.movements import mrr_movements
from pdframe.metrics.revenue.policy import RevenuePolicy
from pdframe.metrics.revenue.reconcile import reconcile
from pdframe.metrics.revenue.renewals import renewals
from pdframe.metrics.revenue.retention import retention, revenue_cohorts
from pdframe.metrics.revenue.top_customers import top_customer_lines, top_customers

__all__ = [
    "RevenuePolicy",
    "billing_schedule",
    "committed_mrr",
    "mrr_customer_months",
    "mrr_lines",
    "mrr_movements",
    "mrr_schedule",
    "reconcile",
    "renewals",
    "retention",
    "revenue_cohorts",
    "top_customer_lines",
    "top_customers",
]


def __dir__() -> list[str]:
    return __all__
