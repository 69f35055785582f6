"""Pages that a fuzzer makes up by what the code does with them: `make fuzz`. It ends at the first
that is neither taken whole nor refused.

Whatever it finds worth keeping it leaves in the folder that it is given, and goes on from there the
next time.
"""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path

import atheris
import httpx

with atheris.instrument_imports(include=["pdframe"]):
    from pdframe.api.client import Client
    from pdframe.api.credentials import ApiToken
    from pdframe.api.limits import RateLimiter
    from tests.helpers import hostile_values, second_page

LONGEST = 12_000


class Canned(httpx.BaseTransport):
    """Gives `bodies` by the cursor that is asked for."""

    def __init__(self) -> None:
        self.bodies: dict[str | None, bytes] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        params = request.url.params
        other_list = {"ids", "status"} & set(params)
        body = (
            second_page.EMPTY
            if other_list
            else self.bodies.get(params.get("cursor"), second_page.EMPTY)
        )
        return httpx.Response(
            200, stream=httpx.ByteStream(body), headers={"content-type": "application/json"}
        )


def main(name: str, folder: Path, seconds: str) -> None:
    canned = Canned()
    client = Client(
        "https://acme.pipedrive.com",
        ApiToken("0" * 40),
        window=RateLimiter(limit=10**9),
        sleep=lambda seconds: None,
        transport=canned,
    )

    def one(body: bytes) -> None:
        canned.bodies = second_page.answers(name, body)
        second_page.check(client, name, body)

    folder.mkdir(parents=True, exist_ok=True)
    for number, body in enumerate(
        [second_page.second_page(name), *hostile_values.corpus(second_page.code_of(name))]
    ):
        if len(body) < LONGEST:
            (folder / f"seed-{number}").write_bytes(body)
    warnings.simplefilter("ignore")
    logging.disable()
    atheris.Setup(
        [
            sys.argv[0],
            f"-max_total_time={seconds}",
            f"-max_len={LONGEST}",
            "-timeout=20",
            str(folder),
        ],
        one,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
