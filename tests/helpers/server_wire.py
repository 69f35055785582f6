"""A caller of the sandbox server that knows HTTP and nothing of pdframe's client."""

import gzip
import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, NamedTuple


class Reply(NamedTuple):
    status: int
    headers: Any
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def data(self):
        return self.json["data"]

    @property
    def cursor(self):
        return (self.json.get("additional_data") or {}).get("next_cursor")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args):
        return None


_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)


def fetch(server, path, params=(), *, method="GET", headers=None, body=None):
    """One request; `params` a mapping or pairs; the server's token goes along unless headers are
    given.
    """
    query = urllib.parse.urlencode(params)
    url = server.url + path + ("?" + query if query else "")
    request = urllib.request.Request(
        url,
        data=body,
        method=method,
        headers={"x-api-token": server.token} if headers is None else headers,
    )
    try:
        with _opener.open(request, timeout=20) as answer:
            reply = Reply(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        with error:
            reply = Reply(error.code, error.headers, error.read())
    if reply.headers.get("content-encoding") == "gzip":
        return reply._replace(body=gzip.decompress(reply.body))
    return reply


def get(server, path, /, *, headers=None, **params):
    """GET of a v2 path, or of a v1 path written with its prefix."""
    return fetch(
        server, path if path.startswith("/") else f"/api/v2/{path}", params, headers=headers
    )


def pages(server, path, /, **params):
    """Every page of a walk, each as a list of rows."""
    cursor, out = None, []
    while True:
        reply = get(server, path, **params, **({"cursor": cursor} if cursor else {}))
        assert reply.status == 200, (path, params, reply.status, reply.body[:300])
        out.append(reply.data or [])
        cursor = reply.cursor
        if not cursor:
            return out


def walk(server, path, /, **params):
    """Every row of a walk."""
    return [row for page in pages(server, path, **{"limit": 500, **params}) for row in page]


def ids(rows):
    return [row["id"] for row in rows]
