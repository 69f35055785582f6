"""How a server behaves where accounts differ or where Pipedrive does not say; may be changed while
it runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

PLANS: Mapping[str, int] = MappingProxyType({"Lite": 1, "Growth": 2, "Premium": 5, "Ultimate": 7})
TOKENS_PER_SEAT = 30_000


@dataclass(slots=True)
class Settings:
    """Switches of a server.

    Attributes
    ----------
    plan
        Lite, Growth, Premium or Ultimate: decides limits and features.
    daily_tokens
        The company's token budget a UTC day of real time.
    burst, search_burst
        Requests in a rolling window of 2 s of real time, a token; ``burst=None``: the plan's own.
    latency
        Seconds that every answer is held back.
    daily_headers
        Whether the daily budget's headers are sent.
    burst_retry_after, daily_retry_after
        Whether a 429 of that kind carries ``retry-after``.
    block_after
        So many 429s in a row earn the HTML 403 until `Server.unblock`; None: never.
    lite_status
        How installments are refused on Lite.
    lite_revenue
        Whether ``mrr``, ``arr``, ``acv`` are null or absent on Lite.
    products_updated_since
        False is the older API, where ``/products`` does not know ``updated_since``.
    query_token
        Whether the API token is accepted in the query (``?api_token=``) as well as in a header.
        Off, a request with a token in its query is refused, also beside a good header.
    undeclared_params
        A query parameter that the operation does not declare is ``"refused"`` with HTTP 400, or
        ``"ignored"``.
    field_search
        Rows of ``/itemSearch/field`` as the specification's schema or as its example has them: the
        two differ.
    """

    plan: str = "Growth"
    daily_tokens: int = 720_000
    burst: int | None = None
    search_burst: int = 10
    latency: float = 0.0
    daily_headers: bool = True
    burst_retry_after: bool = False
    daily_retry_after: bool = True
    block_after: int | None = 50
    lite_status: Literal[402, 403] = 402
    lite_revenue: Literal["null", "absent"] = "null"
    products_updated_since: bool = True
    query_token: bool = False
    undeclared_params: Literal["refused", "ignored"] = "refused"
    field_search: Literal["schema", "example"] = "schema"

    def __post_init__(self) -> None:
        if self.plan not in PLANS:
            raise ValueError(f"There is no plan {self.plan!r}; there are {', '.join(PLANS)}.")
