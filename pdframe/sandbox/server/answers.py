"""What the server can say: JSON envelopes, refusals, and the HTML that stands in front of the real
service.
"""

import json
from dataclasses import dataclass
from typing import Any, Literal

JSON_TYPE = "application/json; charset=utf-8"
HTML_TYPE = "text/html; charset=utf-8"
Mangle = Literal["drop", "truncate", "cut_gzip"]

# Rows hold no cycles, and the check for them costs a tenth of a page.
_encode = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer before compression; ``mangle`` names the way its delivery is spoiled."""

    status: int
    body: bytes
    content_type: str = JSON_TYPE
    headers: tuple[tuple[str, str], ...] = ()
    mangle: Mangle | None = None


class Refusal(Exception):  # noqa: N818 - most refusals are no errors of the server
    """A request that is answered with an error status."""

    def __init__(self, status: int, error: str, info: str) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.info = info

    def body(self) -> dict[str, Any]:
        """The error envelope; the gateway's refusals carry ``errorCode``, the operations' carry
        empty data.
        """
        envelope: dict[str, Any] = {"success": False, "error": self.error}
        if self.status in (401, 402, 403, 405, 429):
            envelope["errorCode"] = self.status
        envelope["error_info"] = self.info
        if self.status in (400, 404):
            envelope |= {"data": None, "additional_data": None}
        return envelope


def encode(payload: Any) -> bytes:
    """Write wire JSON: UTF-8, no blanks; a lone surrogate becomes a question mark."""
    return _encode(payload).encode("utf-8", "replace")


def shown(text: str, length: int = 60) -> str:
    """A caller's text as an error may repeat it: short and printable."""
    clean = "".join(c if c.isprintable() else "?" for c in text[:length])
    return clean + ("..." if len(text) > length else "")


def bad_request(info: str) -> Refusal:
    """HTTP 400; the live bodies are unpublished, so nothing but the status should be relied on."""
    return Refusal(400, "Parameters validation error", info)


def not_found() -> Refusal:
    """HTTP 404 as the specification words it."""
    return Refusal(404, "Entity was not found", "Object was not found.")


def refused(refusal: Refusal, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    """The answer that carries a refusal."""
    return Answer(refusal.status, encode(refusal.body()), headers=headers)


def html(status: int, title: str) -> Answer:
    """An HTML page as proxies and Cloudflare send it."""
    page = (
        f"<!DOCTYPE html>\n<html><head><title>{status}"
        f" {title}</title></head>\n<body><center><h1>{status}"
        f" {title}</h1></center><hr><center>cloudflare</center></body></html>\n"
    )
    return Answer(status, page.encode(), HTML_TYPE)
