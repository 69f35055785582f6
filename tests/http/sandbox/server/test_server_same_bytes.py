"""A company of a seed with every switch at its default serves what it always served, byte for
byte.
"""

import hashlib
import json
import urllib.request

import pytest

from pdframe.sandbox.company import Company
from pdframe.sandbox.server import Server

ENTITIES = ("deal", "person", "organization", "product", "activity", "project")
COUNTS = (
    "activities_count,first_won_time,followers_count,next_activity_id,"
    "products_count,smart_bcc_email"
)
LISTS = (
    f"/api/v2/deals?limit=500&status=open,won,lost,deleted&include_fields={COUNTS}",
    "/api/v2/deals?limit=500&include_option_labels=true&include_labels=true",
    "/api/v2/deals?limit=500&sort_by=update_time&updated_since=2026-01-01T00:00:00Z",
    f"/api/v2/deals/archived?limit=500&status=open,won,lost,deleted&include_fields={COUNTS}",
    "/api/v2/persons?limit=500&include_fields=open_deals_count,related_won_deals_count,doi_status",
    "/api/v2/organizations?limit=500&include_fields=people_count,related_lost_deals_count",
    "/api/v2/products?limit=500",
    "/api/v2/activities?limit=500&include_fields=attendees",
    "/api/v2/stages?limit=500",
    "/api/v2/pipelines?limit=500",
    "/api/v2/projects?limit=500&status=open,completed,canceled,deleted",
    "/api/v2/projects/archived?limit=500",
    "/api/v2/projectTemplates?limit=500",
    "/api/v2/tasks?limit=500",
    "/api/v2/boards",
    "/api/v2/phases?board_id=4",
    "/api/v2/phases?board_id=9",
    *(f"/api/v2/{entity}Fields?limit=500" for entity in ENTITIES),
    "/api/v2/itemSearch?term=core&limit=100",
    "/api/v1/users",
    "/api/v1/users/me",
    "/api/v1/currencies",
    "/api/v1/activityTypes",
    "/api/v1/leadLabels",
    "/api/v1/leads",
    "/api/v1/leads/archived",
)
# Computed by this function at the commit before the switches. A new digest means that the company
# of a seed has changed for everybody.
DIGESTS = {
    7: "3ca2df7721e5ebbc43c0a94d511c4412f40327e94e87db7c94d34a6d4cb5f7ea",
    2: "a18de597f6744a002f3169dd4df50d4b22377f8db844ab64e9ee7f6c9047e891",
}


def served(server: Server) -> str:
    """Return the digest of every list and of the rows of each deal as they are sent, without
    cursors, which carry the time.
    """
    total = hashlib.sha256()

    def take(target: str) -> None:
        cursor = ""
        while True:
            request = urllib.request.Request(
                server.url + target + cursor, headers={"x-api-token": server.token}
            )
            with urllib.request.urlopen(request, timeout=30) as answer:
                raw = answer.read()
            following = (json.loads(raw).get("additional_data") or {}).get("next_cursor")
            total.update(
                target.encode() + raw.replace(following.encode(), b"")
                if following
                else target.encode() + raw
            )
            if not following:
                return
            cursor = f"&cursor={following}"

    deals = [
        number for number, row in server.company.tables["deals"].items() if not row["is_deleted"]
    ]
    for target in LISTS:
        take(target)
    for start in range(0, len(deals), 100):
        batch = ",".join(map(str, deals[start : start + 100]))
        take(f"/api/v2/deals/products?limit=500&deal_ids={batch}")
        take(f"/api/v2/deals/installments?limit=500&deal_ids={batch}")
    for number in deals:
        take(f"/api/v1/deals/{number}/changelog?limit=500")
    for number in deals[::10]:
        take(f"/api/v1/deals/{number}/flow?all_changes=1&limit=500")
        take(f"/api/v2/deals/{number}/followers?limit=500")
        take(f"/api/v2/deals/{number}/discounts")
    for number in server.company.tables["projects"]:
        if ("projects", number) not in server.company.deleted_at:
            take(f"/api/v2/projects/{number}/changelog?limit=500")
    company = server.company
    total.update(json.dumps([company.events, company.truth.subscriptions()], default=str).encode())
    return total.hexdigest()


@pytest.mark.parametrize("seed", DIGESTS)
def test_the_company_of_a_seed_is_what_it_was(serve, seed):
    company = Company(seed=seed, deals=150)
    company.advance(30)
    assert served(serve(company, token="0" * 40, daily_tokens=10**9)) == DIGESTS[seed]
