"""From a request to its answer, without sockets: the order in which the real service's layers
speak.
"""

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote

from pdframe.sandbox.server.answers import (
    Answer,
    Refusal,
    bad_request,
    encode,
    html,
    not_found,
    refused,
)
from pdframe.sandbox.server.auth import API_TOKEN, Auth
from pdframe.sandbox.server.call import Call
from pdframe.sandbox.server.faults import Faults
from pdframe.sandbox.server.limits import Limits
from pdframe.sandbox.server.log import Log, flat
from pdframe.sandbox.server.paging import Cursors
from pdframe.sandbox.server.params import read
from pdframe.sandbox.server.present import Presenter
from pdframe.sandbox.server.routes import Operation, Router, operations
from pdframe.sandbox.server.settings import Settings
from pdframe.sandbox.server.views import Views

if TYPE_CHECKING:
    from pdframe.sandbox.company import Company

# Called with the path and the parameters of a request.
BeforeRequest = Callable[[str, Mapping[str, str]], None]
TOKEN_PATH = "/oauth/token"
_MOST_PARAMETERS = 300


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; header names in lower case."""

    method: str
    target: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(slots=True)
class _Trace:
    """What the log will say of a request."""

    query: Mapping[str, Sequence[str]]
    template: str = ""
    tokens: int = 0


class App:
    """Answers requests for one company. Safe to call from any thread: operations run with the
    company's lock held.

    Costs: whatever reaches an operation is charged, also where the operation refuses it (400, 402,
    403 for a scope, 404 for an entity); 401, 429, unknown paths and faults in front of the
    operation are free. Pipedrive documents neither.
    """

    def __init__(
        self, company: "Company", settings: Settings, auth: Auth, faults: Faults | None
    ) -> None:
        self.company = company
        self.settings = settings
        self.auth = auth
        self.faults = faults
        self.limits = Limits(settings)
        self.cursors = Cursors(company.switches.cursor_lifetime)
        self.log = Log()
        self.crashes: list[str] = []
        self.before_request: BeforeRequest | None = None
        self.origin = ""
        self._router = Router(operations())
        self._views = Views(company)
        self._present = Presenter(company, self._views, settings)

    def date(self) -> str:
        """The ``Date`` header: the company's clock, ahead of it where a switch says so."""
        return formatdate(self.company.now + self.company.switches.date_ahead_seconds, usegmt=True)

    def answer(self, request: Request) -> Answer:
        """Answer a request and log it; a mistake of ours is a 500 and kept in ``crashes``."""
        path, _, query = request.target.partition("?")
        trace = _Trace({})
        try:
            try:
                trace.query = parse_qs(
                    query, keep_blank_values=True, errors="replace", max_num_fields=_MOST_PARAMETERS
                )
            except ValueError:
                answer = refused(bad_request("the query has too many parameters"))
            else:
                if self.before_request is not None:
                    with self.company.lock:  # requests may arrive side by side
                        self.before_request(path, flat(trace.query))
                answer = self._serve(request, path, trace)
        except Exception:
            self.crashes.append(traceback.format_exc())
            answer = refused(Refusal(500, "Internal server error", "The sandbox made a mistake."))
        status = 0 if answer.mangle == "drop" else answer.status
        self.log.add(request.method, path, trace.query, status, trace.tokens, trace.template)
        return answer

    def _serve(self, request: Request, path: str, trace: _Trace) -> Answer:
        if request.method == "POST" and path == TOKEN_PATH:
            trace.template = TOKEN_PATH
            return self.auth.grant(request.headers, request.body, self.origin)
        if request.method != "GET":
            return refused(
                Refusal(405, "Method not allowed", "This server is read-only."), (("allow", "GET"),)
            )
        if not path.startswith("/api/"):
            return html(404, "Not Found")
        self.log.arrive()
        faults = self.faults
        fault = faults.next() if faults is not None else None
        if fault == "slow" and faults is not None:
            time.sleep(faults.slow_seconds)
        before = self._fault_before(fault)
        return (
            before
            if before is not None
            else self._fault_after(fault, self._gateway(request, path, trace))
        )

    def _fault_before(self, fault: str | None) -> Answer | None:
        """The fault that keeps a request from its operation."""
        if fault == "html_502":
            return html(502, "Bad Gateway")
        if fault == "html_503":
            return html(503, "Service Temporarily Unavailable")
        if fault == "html_403":
            return html(403, "Forbidden")
        if fault == "drop":
            return Answer(200, b"", mangle="drop")
        if fault == "redirect":
            # Another host name for the same machine, so that the log shows who followed, and with
            # what.
            target = self.origin.replace("127.0.0.1", "localhost") + "/redirected"
            return Answer(302, b"", headers=(("location", target),))
        if fault in ("rate_429", "rate_429_retry_after"):
            after = (("retry-after", "1"),) if fault == "rate_429_retry_after" else ()
            headers = (("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "2"), *after)
            return refused(
                Refusal(
                    429,
                    "request over limit",
                    "You have exceeded the request limit for a 2 second window.",
                ),
                headers,
            )
        return None

    @staticmethod
    def _fault_after(fault: str | None, answer: Answer) -> Answer:
        """The fault that spoils an answer already made, and paid for."""
        if fault == "truncate":
            return replace(answer, mangle="truncate")
        if fault == "cut_gzip":
            return replace(answer, mangle="cut_gzip")
        if fault == "success_false_200":
            body = {
                "success": False,
                "error": "Something went wrong",
                "error_info": "Please try again later.",
                "data": None,
            }
            return replace(answer, status=200, body=encode(body))
        return answer

    def _gateway(self, request: Request, path: str, trace: _Trace) -> Answer:
        """Block, credential, burst window, path, budget: each may end the request before an
        operation sees it.
        """
        blocked = self.limits.blocked()
        if blocked is not None:
            return blocked
        try:
            caller = self.auth.caller(
                request.headers, trace.query, query_token=self.settings.query_token
            )
        except Refusal as refusal:
            return refused(refusal)
        result = self._router.find(path)
        headers, over = self.limits.admit(
            caller.token, oauth=caller.oauth, search=result is not None and result[0].search
        )
        if over is not None:
            return over
        if result is None:
            return refused(_no_path(caller.oauth), headers)
        operation, args = result
        trace.template = operation.template
        headers, over = self.limits.charge(operation.cost, headers)
        if over is not None:
            return over
        trace.tokens = operation.cost
        try:
            if caller.scopes is not None and not caller.scopes & operation.scopes:
                raise _scope_mismatch()
            return Answer(200, self._operate(operation, args, trace.query), headers=headers)
        except Refusal as refusal:
            return refused(refusal, headers)

    def _operate(
        self, operation: Operation, args: Mapping[str, str], query: Mapping[str, Sequence[str]]
    ) -> bytes:
        settings = self.settings
        if operation.growth and settings.plan == "Lite":
            raise Refusal(
                settings.lite_status,
                "Payment required",
                "This feature is not available in the company's plan.",
            )
        params = operation.params
        if operation.template == "/api/v2/products" and not settings.products_updated_since:
            params = {name: param for name, param in params.items() if name != "updated_since"}
        if settings.query_token:
            query = {name: texts for name, texts in query.items() if name != API_TOKEN}
        values = read(params, query, ignore_undeclared=settings.undeclared_params == "ignored")
        parts = {name: unquote(value, errors="replace") for name, value in args.items()}
        call = Call(
            self.company,
            self._views,
            self.cursors,
            self._present,
            settings,
            operation.template,
            parts,
            values,
        )
        with self.company.lock:
            # Encoded inside the lock: rows are the company's own objects.
            return encode(operation.handler(call))


def _scope_mismatch() -> Refusal:
    return Refusal(
        403, "Scope and URL mismatch", "Please check the scopes of the app, and the URL."
    )


def _no_path(oauth: bool) -> Refusal:
    """A path that is not there: OAuth's gateway knows paths by their scopes alone."""
    return _scope_mismatch() if oauth else not_found()
