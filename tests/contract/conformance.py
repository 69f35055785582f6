"""Hold a server against the digest of Pipedrive's API specification, over HTTP alone.

    python -m tests.contract.conformance http://127.0.0.1:8080 TOKEN

Each GET of the specification is requested: as it is, with each parameter it declares, with values
that it must refuse. A check that fails is a line; the digest and the server are all it knows.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.contract import spec_digest
from tests.contract.spec_digest import CUSTOM, Shape

NO_ROW_HAS = {
    "/persons/{id}/picture": "no person of the sandbox has a picture",
    "/products/{id}/images": "no product of the sandbox has an image",
    "/deals/{id}/convert/status/{conversion_id}": "no conversion is under way",
    "/leads/{id}/convert/status/{conversion_id}": "the sandbox has no leads",
}
"""Operations that are served, but answer 404 for every id."""
UNKNOWN_PATHS = ("/nothing", "/deals/1/nothing", "/webhooks", "/notes", "/files", "/roles")
"""Paths that neither version of the specification has."""
KNOWN = {
    "/deals/installments: undeclared additional_data": "the list pages, as observed",
    "/leads additional_data: undeclared pagination": "v1 lists nest it, as its other examples show",
    "/leads/archived additional_data: undeclared pagination": "as for /leads",
    "/deals/search data.items[].item.organization: undeclared address": "/itemSearch shows it",
    "/products/search data.items[].item.code: str instead of integer": "/products says a text",
    "/products/search data.items[].item: undeclared prices": "include_fields=product.price",
    "/deals/{id}/flow data[].data.participants[]: undeclared primary": "pdframe does not read it",
}
"""Differences from the specification that are known, and why they are accepted."""
NO_VALUE = {"filter_id": "the sandbox has no filters", "cursor": "see the check of pages"}
"""Parameters for which no value is known that a server must accept."""
TITLED = {"deal", "lead", "project"}
"""Kinds of rows that are searched by title; others by name."""
LABELS = {"include_labels", "include_option_labels"}
"""Parameters that change the shape of a row in a form that the specification does not declare."""
UUID = "adf21080-0e10-11eb-879b-05d71fb426ec"
ROWS_TRIED = 60
"""How many rows are tried until one has rows of its own, such as followers."""
PYTHON_TYPES: Mapping[str, tuple[type, ...]] = {
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "boolean": (bool,),
}


@dataclass
class Answer:
    """An answer: status, JSON (None where it is none), and the tokens left after it."""

    status: int
    body: Any
    remaining: int | None


@dataclass
class Report:
    """What was checked, and what failed."""

    checks: int = 0
    failures: list[str] = field(default_factory=list)
    served: set[str] = field(default_factory=set)
    known: set[str] = field(default_factory=set)

    def check(self, ok: bool, problem: str) -> bool:
        self.checks += 1
        if not ok and problem not in self.failures:
            self.failures.append(problem)
        return ok


@dataclass
class Conformance:
    """Checks of one server.

    Parameters
    ----------
    url, token
        The server's origin and an API token of it.
    undeclared
        What the server does with a query parameter that the operation does not declare.
    digest
        The specification's digest.
    """

    url: str
    token: str
    undeclared: Literal["refused", "ignored"] = "refused"
    digest: Mapping[str, Any] = field(default_factory=spec_digest.load)
    report: Report = field(default_factory=Report)
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def run(self) -> Report:
        """Run every check."""
        gets = {
            (version, path): described
            for version in ("v2", "v1")
            for path, described in self.digest[version].items()
            if "response" in described
        }
        # Lists first: their rows are what other operations are about.
        for key in sorted(gets, key=lambda key: ("{" in key[1], "term" in gets[key]["parameters"])):
            self._check_operation(*key, gets[key])
        self._check_paths(gets)
        self._check_methods()
        return self.report

    # Requests

    def get(self, path: str, params: Mapping[str, Any] | None = None, **how: Any) -> Answer:
        query = urllib.parse.urlencode(params or {}, safe=",")
        request = urllib.request.Request(
            f"{self.url}/api/{path}{'?' if query else ''}{query}",
            headers={"x-api-token": how.get("token", self.token)},
            method=how.get("method", "GET"),
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return self._answer(answer.status, answer.read(), answer.headers)
        except urllib.error.HTTPError as error:
            with error:
                return self._answer(error.code, error.read(), error.headers)

    @staticmethod
    def _answer(status: int, content: bytes, headers: Any) -> Answer:
        body = None
        with contextlib.suppress(ValueError):
            body = json.loads(content)
        left = headers.get("x-daily-ratelimit-token-remaining")
        return Answer(status, body, None if left is None else int(left))

    # One operation

    def _check_operation(self, version: str, path: str, described: Mapping[str, Any]) -> None:
        name, parameters = f"{version} {path}", described["parameters"]
        required = self._required(path, parameters)
        answer, called = self._first_answer(version, path, required)
        if answer is None:
            self.report.check(False, f"{name}: the server has no row to ask it about")
            return
        if path in NO_ROW_HAS:
            self.report.check(answer.status == 404, f"{name}: {answer.status} instead of 404")
            self.report.check(is_refusal(answer.body), f"{name}: no error in the answer")
        elif not self.report.check(answer.status == 200, f"{name}: status {answer.status}"):
            return
        self.report.served.add(name)
        if path not in NO_ROW_HAS:
            self._check_answer(name, described, answer)
            self._check_cost(name, described["cost"]["get"], called, required)
            self._check_optional_parameters(name, described, called, required)
        self._check_refusals(name, described, called, required)

    def _first_answer(
        self, version: str, path: str, required: Mapping[str, Any]
    ) -> tuple[Answer | None, str]:
        """Request an operation for one row after another, until an answer has rows itself."""
        best: tuple[Answer | None, str] = (None, "")
        for called in self._calls(path):
            answer = self.get(version + called, required)
            if best[0] is None or (best[0].status != 200 and answer.status == 200):
                best = answer, version + called
            if "{" not in path or path in NO_ROW_HAS or rows_of(answer.body):
                best = answer, version + called
                break
        answer = best[0]
        if answer is not None and "{" not in path and isinstance(answer.body, dict):
            rows = answer.body.get("data")
            if isinstance(rows, list):
                self.rows.setdefault(path, rows)
        return best

    def _calls(self, path: str) -> Iterator[str]:
        """Fill the path's parameters from rows of the list that it begins with."""
        if "{" not in path:
            yield path
            return
        rows = self.rows.get(path[: path.index("/{")], [])
        if path.startswith("/leads"):
            rows = [{"id": UUID}]
        for row in rows[:ROWS_TRIED]:
            yield (
                path.replace("{id}", str(row.get("id")))
                .replace("{field_code}", str(row.get("field_code")))
                .replace("{conversion_id}", UUID)
            )

    def _required(self, path: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: self._value(path, name, described)
            for name, described in parameters.items()
            if described.get("required") and described["in"] == "query"
        }

    def _value(self, path: str, name: str, described: Mapping[str, Any]) -> Any:
        """Return a value that a server must accept for a parameter."""
        if "enum" in described:
            return described["enum"][0]
        if name in ("ids", "deal_ids"):
            rows = self.rows.get(path if name == "ids" else "/deals", [])
            return ",".join(str(row["id"]) for row in rows[:100])
        if name == "board_id":
            return self.rows["/boards"][0]["id"]
        if name in ("updated_since", "updated_until"):
            return "2026-01-01T00:00:00Z"
        if name == "field":
            return "title"
        if name == "term":
            return self._term(path)
        if name == "custom_fields":
            return "0123456789abcdef0123456789abcdef01234567"
        if name == "status":
            return "open"
        if name == "lead_id":
            return UUID
        if name == "parent_task_id":
            return "null"
        return {"integer": 1, "number": 1, "boolean": "true"}.get(described["type"], "text")

    def _term(self, path: str) -> str:
        """Return a text that a search of this kind finds."""
        kind = path.split("/")[1]
        rows = self.rows.get(f"/{kind}", []) or self.rows.get("/deals", [])
        texts = [str(row.get("title") or row.get("name") or "") for row in rows]
        plain = [text for text in texts if re.fullmatch(r"[A-Za-z0-9 ]{3,40}", text.strip())]
        return (plain or texts or ["text"])[0].strip()

    # Checks of an answer

    def _check_answer(self, name: str, described: Mapping[str, Any], answer: Answer) -> None:
        body = answer.body
        if not self.report.check(
            isinstance(body, dict) and body.get("success") is True, f"{name}: success is not true"
        ):
            return
        self._check_shape(name, described, body)
        parameters = described["parameters"]
        optional = {
            *described.get("optional", ()),
            *parameters.get("include_fields", {}).get("enum", ()),
        }
        shape, rows = row_shape(described["response"]), rows_of(body)
        if "{" in name or not isinstance(shape, dict) or not rows:
            return
        for column, kind in shape.items():
            if column != "*" and kind != "example" and column not in optional:
                column = column.removesuffix("!")
                self.report.check(
                    any(column in row for row in rows if isinstance(row, dict)),
                    f"{name}: no row has {column}",
                )

    def _check_shape(
        self, name: str, described: Mapping[str, Any], body: Any, extras: Any = ()
    ) -> None:
        """Check names and types of an answer; differences that are known are no failures."""
        path = name.split(" ")[1]
        problems = {
            f"{path}{problem}" for problem in misfits(described["response"], body, "", extras)
        }
        self.report.known |= problems & KNOWN.keys()
        unknown = [each.removeprefix(path) for each in sorted(problems - KNOWN.keys())]
        self.report.check(not unknown, f"{name}{unknown[0] if unknown else ''}")

    def _check_cost(self, name: str, cost: int, called: str, required: Mapping[str, Any]) -> None:
        first, second = self.get(called, required), self.get(called, required)
        if first.remaining is None or second.remaining is None:
            return
        spent = first.remaining - second.remaining
        self.report.check(spent == cost, f"{name}: costs {spent} tokens instead of {cost}")

    # Checks of parameters

    def _check_optional_parameters(
        self, name: str, described: Mapping[str, Any], called: str, required: Mapping[str, Any]
    ) -> None:
        path = name.split(" ")[1]
        for parameter, kind in described["parameters"].items():
            if kind["in"] != "query" or parameter in NO_VALUE:
                continue
            for value in kind.get("enum") or [self._value(path, parameter, kind)]:
                given = {**required, parameter: value}
                if parameter == "entity_type":
                    given["field"] = "title" if value in TITLED else "name"
                answer = self.get(called, given)
                label = f"{name} with {parameter}={value}"
                if not self.report.check(answer.status == 200, f"{label}: {answer.status}"):
                    continue
                if parameter == "include_fields":
                    # The specification lists combinations, and names such as "deal.cc_email".
                    added = [each.rpartition(".")[2] for each in value.split(",")]
                    self._check_shape(label, described, answer.body, added)
                    has = any(set(added) <= row.keys() for row in rows_of(answer.body))
                    self.report.check(has or "." in value, f"{label}: no row has {value}")
                elif parameter not in LABELS:
                    self._check_shape(label, described, answer.body)
                if parameter == "limit":
                    few = len(rows_of(answer.body)) <= value
                    self.report.check(few, f"{label}: more rows than the limit")
        if "cursor" in described["parameters"]:
            self._check_pages(name, called, required)

    def _check_pages(self, name: str, called: str, required: Mapping[str, Any]) -> None:
        """Read two pages of one row each: the second continues the first."""
        one = self.get(called, {**required, "limit": 1})
        cursor = one.body.get("additional_data") or {} if isinstance(one.body, dict) else {}
        following = cursor.get("next_cursor")
        if following is None:
            return
        two = self.get(called, {**required, "limit": 1, "cursor": following})
        if self.report.check(two.status == 200, f"{name}: the second page has {two.status}"):
            same = rows_of(one.body) == rows_of(two.body) and bool(rows_of(one.body))
            self.report.check(not same, f"{name}: the second page repeats the first")
        broken = self.get(called, {**required, "cursor": "%%%"})
        self.report.check(broken.status == 400, f"{name}: a broken cursor has {broken.status}")

    def _check_refusals(
        self, name: str, described: Mapping[str, Any], called: str, required: Mapping[str, Any]
    ) -> None:
        """Leave out what is required, and give what is not declared or not allowed."""
        version, path = name.split(" ")
        called = called or version + path
        for parameter in required:
            without = {key: value for key, value in required.items() if key != parameter}
            status = self.get(called, without).status
            self.report.check(status == 400, f"{name} without {parameter}: status {status}")
        plain = self.get(called, required)
        other = self.get(called, {**required, "not_declared_at_all": "1"})
        if plain.status == 200:
            if self.undeclared == "refused":
                self.report.check(other.status == 400, f"{name}: takes an undeclared parameter")
            else:
                ignored = other.status == 200 and rows_of(other.body) == rows_of(plain.body)
                self.report.check(ignored, f"{name}: does not ignore an undeclared parameter")
            for parameter, kind in described["parameters"].items():
                for wrong in self._wrong(parameter, kind) if kind["in"] == "query" else ():
                    status = self.get(called, {**required, parameter: wrong}).status
                    label = f"{name} with {parameter}={wrong[:40]}"
                    self.report.check(status == 400, f"{label}: status {status}")
        refused = self.get(called, required, token="0" * 40)
        self.report.check(refused.status == 401, f"{name}: a wrong token has {refused.status}")

    @staticmethod
    def _wrong(name: str, kind: Mapping[str, Any]) -> list[str]:
        """Return values that a parameter does not allow; none where it allows any text."""
        if "enum" in kind:
            return ["not-in-the-list"]
        if name in ("ids", "deal_ids"):
            return ["x", ",".join(map(str, range(1, 102)))]
        if name in ("updated_since", "updated_until"):
            return ["yesterday", "2026-01-01T00:00:00.5Z"]
        if name == "limit":
            return ["x", "0", "501"]
        return ["x"] if kind["type"] in ("integer", "number", "boolean") else []

    # Checks of paths and methods

    def _check_paths(self, gets: Mapping[tuple[str, str], Any]) -> None:
        """Request paths that the specification lacks: other versions of known ones among them."""
        unknown = [("v2", path) for path in UNKNOWN_PATHS] + [
            ("v1", path) for path in UNKNOWN_PATHS
        ]
        for version, path in gets:
            other = {"v1": "v2", "v2": "v1"}[version]
            if (other, path) not in gets:
                unknown.append((other, next(self._calls(path), path)))
            unknown.append((version, f"{next(self._calls(path), path)}/nothing"))
        for version, path in unknown:
            status = self.get(version + path).status
            self.report.check(status in (400, 403, 404), f"{version} {path}: status {status}")

    def _check_methods(self) -> None:
        """Request every method that writes: the server only reads."""
        for version in ("v2", "v1"):
            for path in self.digest[version]:
                for method in ("POST", "PUT", "PATCH", "DELETE"):
                    called = next(self._calls(path), path)
                    status = self.get(version + called, method=method).status
                    refused = status in (403, 404, 405)
                    self.report.check(refused, f"{method} {version} {path}: status {status}")


def is_refusal(body: Any) -> bool:
    return isinstance(body, dict) and body.get("success") is False and bool(body.get("error"))


def rows_of(body: Any) -> list[Any]:
    """Return the rows of an answer: of a list, of a search, or the one row of a single read."""
    data = body.get("data") if isinstance(body, dict) else None
    if isinstance(data, dict):
        return data["items"] if isinstance(data.get("items"), list) else [data]
    return data if isinstance(data, list) else []


def row_shape(response: Shape) -> Shape:
    """Return the shape of a row of a list; of other answers "any"."""
    data = response.get("data", "any") if isinstance(response, dict) else "any"
    return data[0] if isinstance(data, list) else "any"


def misfits(shape: Shape, value: Any, place: str = "", extras: Any = ()) -> Iterator[str]:
    """Yield each part of a value that does not fit its shape, as "place: problem".

    Null fits every shape, as with the live API; custom fields are allowed in every object.
    """
    if value is None or shape in ("any", "example"):
        return
    if isinstance(shape, str):
        kinds = {each for kind in shape.split("|") for each in PYTHON_TYPES.get(kind, ())}
        if kinds and type(value) not in kinds:
            yield f"{place}: {type(value).__name__} instead of {shape}"
    elif isinstance(shape, list):
        if not isinstance(value, list):
            yield f"{place}: {type(value).__name__} instead of a list"
            return
        for part in value:
            yield from misfits(shape[0], part, f"{place}[]", extras)
    elif not isinstance(value, dict):
        yield f"{place}: {type(value).__name__} instead of an object"
    else:
        known = {name.removesuffix("!"): sub for name, sub in shape.items()}
        for name in shape:
            if name.endswith("!") and name.removesuffix("!") not in value:
                yield f"{place}: lacks {name.removesuffix('!')}"
        for name, part in value.items():
            inside = f"{place}.{name}" if place else f" {name}"
            if name in known and name != "*":
                yield from misfits(known[name], part, inside, extras)
            elif "*" in known:
                yield from misfits(known["*"], part, inside, extras)
            elif name not in (*extras, "custom_fields") and not CUSTOM.fullmatch(name):
                yield f"{place}: undeclared {name}"


def conformance(url: str, token: str, **settings: Any) -> Report:
    """Hold a server against the specification."""
    return Conformance(url, token, **settings).run()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    outcome = conformance(*sys.argv[1:])
    print(*outcome.failures, sep="\n")
    print(f"{outcome.checks} checks, {len(outcome.failures)} failed")
    sys.exit(bool(outcome.failures))
