"""What people call a metric that has another name here, or that one line of pandas answers."""

from __future__ import annotations

import re

_RECIPE = "docs/how-to/questions.md has the code."
MEANT = (
    (
        r"(churned|lost)_(customer|logo|client|account)s?(_names)?",
        "Rows of mrr_customer_months with movement 'churn' are the customers who left, by name.",
    ),
    (
        r"((mrr|arr|revenue|logo|customer)_)?churn(_rate)?|attrition|lost_(mrr|arr)",
        "mrr_movements has churn by month; retention has the share of revenue and of customers that"
        " stayed.",
    ),
    (r"nrr|grr|net_revenue|gross_revenue", "retention has nrr and grr by month."),
    (
        r"new_(customer|logo|client|account|mrr|arr)s?",
        "mrr_movements has new MRR by month; rows of mrr_customer_months with movement 'new' are"
        " the new customers.",
    ),
    (
        r"arr|mrr_growth|arr_growth|growth|arpa|arpu|customer_count|active_customers",
        "mrr_schedule has mrr, arr, customers and arpa by month.",
    ),
    (
        r"ltv|clv|cltv|lifetime_value|cac|payback",
        "pdframe has no costs and guesses no lifetime: retention and mrr_schedule (arpa) have what"
        " such figures are made of.",
    ),
    (
        r"(sales_)?cycle(_length|_time)?|lead_times?|time_to_(win|close|won)|days_to_(win|close)"
        r"|sales_cycles?",
        "sales_velocity has the mean days from creation to win; stage_velocity the time in each"
        " stage.",
    ),
    (
        r"conversion(s|_rates?)?|close_rate|hit_rate|winrate_by_stage|stage_conversion",
        "funnel has the conversion of each stage, win_rate won / (won + lost).",
    ),
    (
        r"(top|largest|biggest|best)_(\w+_)?deals?|deals_by_(won_)?value",
        "Deals are a frame: deals.nlargest(10, 'value') where all are in one currency;"
        " convert(deals, 'EUR', rates).nlargest(10, 'value_in_EUR') where they are not.",
    ),
    (
        r"(top|largest|biggest|best)_(\w+_)?(customers?|clients?|companies|organi[sz]ations|orgs)",
        "top_customers ranks by MRR. By won value: sales_by_period(account.deals(names=True),"
        " since='2026', until='2026', freq='Y', by='org_name', rates=...).nlargest(10,"
        " 'won_value').",
    ),
    (
        r"(average_|avg_|mean_)?(deal|order)_(size|value)|acv|asp",
        "sales_by_period has average_won_value.",
    ),
    (
        r"leader_?board|ranking|by_rep|rep_performance|top_reps|sales_by_(owner|rep|user)|revenue",
        "sales_by_period(..., by='owner') is a leaderboard; for one period pass it as since and"
        " until.",
    ),
    (
        r"(new_|created_)?(deals|pipeline)_created|pipeline_generat\w+|new_deals|new_pipeline",
        "sales_by_period has created and created_value by period: freq='W' for weeks.",
    ),
    (
        r"(pipeline_)?coverage|quota|quotas|target|targets",
        "attainment has the probability of a quota, and coverage beside the coverage that is"
        " needed.",
    ),
    (
        r"stuck(_deals)?|stale(_deals)?|rotten(_deals)?|rotting|idle(_deals)?|old_deals|overdue",
        "deal_aging has days_in_stage, days_idle and rotten of each open deal.",
    ),
    (
        r"(deals_)?(no|without|with_no)_(next_)?activit(y|ies)|next_activity|untouched",
        "Select rows: deals[(deals['status'] == 'open') & deals['next_activity_id'].isna()];"
        " deal_aging has days_idle.",
    ),
    (r"(average_|avg_|mean_)?discounts?(_rate)?", f"Line items have it. {_RECIPE}"),
    (
        r"cross_sell|basket|bought_together|products?_(together|pairs|mix|basket)",
        f"Line items have it. {_RECIPE}",
    ),
    (
        r"time_in_stage|stage_(time|duration)s?|days_in_stage|velocity",
        "stage_velocity has the time in each stage; sales_velocity the figure of that name.",
    ),
    (r"cohorts?(_analysis|_retention)?|retention_cohorts?", "revenue_cohorts has them."),
    (
        r"((overdue|open|late|planned)_)?activit(y|ies)(_per_\w+|_overdue)?|calls|meetings|emails",
        "activity_summary counts activities, done and overdue, and per won deal.",
    ),
    (
        r"(products?|units|items)_sold|products?_(sales|revenue)|sales_by_products?",
        f"Line items have it. {_RECIPE}",
    ),
    (
        r"leads?|leads?_\w+|qualified_leads",
        "Leads are not loaded. Deals that were leads have source_lead_id:"
        " win_rate(deals[deals['source_lead_id'].notna()], since='2026', until='2026').",
    ),
    (
        r"(overdue|late)_projects|projects?_(overdue|late)",
        "Projects are a frame: projects[(projects['status'] == 'open') &"
        " (projects['end_date'] < '2026-06-30')].",
    ),
    (r"duplicates?|quality|missing|hygiene|health", "data_quality lists what is wrong."),
)


def meant(name: str) -> str | None:
    """Return the sentence for a name that is no metric; None where nothing is known to be meant."""
    folded = name.casefold().strip("_")
    for pattern, sentence in MEANT:
        if re.fullmatch(rf"(?:{pattern})(?:_by_\w+)?", folded):
            return sentence
    return None


__all__ = ["MEANT", "meant"]
