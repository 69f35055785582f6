"""The burst window and the day's tokens."""

import contextlib
import os
import stat
import threading
import zlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdframe._files import seal, unseal
from pdframe.api.limits import RateLimiter, TokenBudget
from pdframe.errors import ArgumentError, BudgetError, CacheError
from tests.helpers.scripted_server import FakeTime

# The burst window


def fullest(times, span=2.0):
    """Most events in any window of the span, both ends counted."""
    return max(
        (sum(1 for other in times if moment <= other <= moment + span) for moment in times),
        default=0,
    )


requests = st.tuples(
    st.floats(0, 1.5),  # time between two requests
    st.floats(0, 3.0),  # how long the request is under way
    st.floats(0, 1.0),  # when in that time the server sees it
    st.booleans(),  # a search
)


@given(st.lists(requests, max_size=60), st.integers(1, 12), st.integers(1, 5))
@settings(deadline=None)
def test_never_more_than_the_limit_in_any_two_seconds(plan, limit, search_limit):
    time = FakeTime(0.0)
    window = RateLimiter(limit=limit, search_limit=search_limit, clock=time.clock, sleep=time.sleep)
    arrived, searched = [], []
    for gap, in_flight, seen_after, search in plan:
        time.now += gap
        with window.slot(search=search):
            moment = time.now + in_flight * seen_after
            arrived.append(moment)
            if search:
                searched.append(moment)
            time.now += in_flight
    assert fullest(arrived) <= limit
    assert fullest(searched) <= search_limit


@given(
    st.lists(st.tuples(st.floats(0, 0.5), st.integers(0, 6)), min_size=1, max_size=40),
    st.integers(2, 10),
)
@settings(deadline=None)
def test_no_429_is_our_own_doing(plan, limit):
    """A server that counts strictly, and others who share the token: it refuses us only while
    theirs are in the window.
    """
    time = FakeTime(0.0)
    window = RateLimiter(limit=limit, clock=time.clock, sleep=time.sleep)
    ours, theirs = [], []
    for gap, others in plan:
        time.now += gap
        with window.slot():
            recent = [moment for moment in ours + theirs if moment > time.now - 2.0]
            remaining = max(0, limit - len(recent) - 1)
            if len(recent) < limit:
                ours.append(time.now)
                window.update_from_headers(headers(limit, remaining))
            else:
                assert any(moment in theirs for moment in recent)
                window.pause(2.01)  # what the client does on a 429
        theirs += [time.now] * min(others, remaining)


def test_others_who_share_the_token_are_left_their_places():
    time = FakeTime()
    window = RateLimiter(clock=time.clock, sleep=time.sleep)
    with window.slot():
        window.update_from_headers(headers(20, 5))
    for _ in range(5):
        with window.slot():
            pass
    assert time.naps == []
    with window.slot():
        pass
    assert sum(time.naps) == pytest.approx(2.01)


def headers(limit, remaining, reset=2):
    return {
        "x-ratelimit-limit": str(limit),
        "x-ratelimit-remaining": str(remaining),
        "x-ratelimit-reset": str(reset),
    }


def test_before_the_first_answer_the_smallest_plan_counts():
    time = FakeTime()
    window = RateLimiter(clock=time.clock, sleep=time.sleep)
    for _ in range(20):
        with window.slot():
            pass
    assert time.naps == []
    with window.slot():
        pass
    assert sum(time.naps) == pytest.approx(2.01)


def test_a_larger_plan_is_used_once_it_is_known():
    time = FakeTime()
    window = RateLimiter(clock=time.clock, sleep=time.sleep)
    with window.slot():
        window.update_from_headers(headers(120, 119))
    for _ in range(119):
        with window.slot():
            pass
    assert time.naps == []


def test_searches_have_a_window_of_their_own():
    time = FakeTime()
    window = RateLimiter(limit=100, clock=time.clock, sleep=time.sleep)
    for _ in range(10):
        with window.slot(search=True):
            window.update_from_headers(headers(100, 99), search=True)
    assert time.naps == []
    with window.slot():
        pass
    assert time.naps == []
    with window.slot(search=True):
        pass
    assert sum(time.naps) > 2
    assert window.limit == 100


def test_an_exhausted_window_waits_for_its_reset():
    time = FakeTime()
    window = RateLimiter(clock=time.clock, sleep=time.sleep)
    with window.slot():
        window.update_from_headers(headers(20, 0, reset=1))
    with window.slot():
        pass
    assert 1 <= sum(time.naps) <= 2.01


@pytest.mark.parametrize(
    "bad",
    [{}, headers("many", 3), headers(0, 0), headers(-5, 3), headers("٣", 3), headers("9" * 30, 3)],
)
def test_headers_that_make_no_sense_change_nothing(bad):
    window = RateLimiter()
    window.update_from_headers(bad)
    assert window.limit == 20


def test_a_limit_beyond_all_reason_takes_no_memory():
    """As many places as others are said to have taken; one object each would fill the machine."""
    time = FakeTime()
    window = RateLimiter(clock=time.clock, sleep=time.sleep)
    window.update_from_headers(headers(99_999_999_999, 0))
    with window.slot():
        assert sum(time.naps) == pytest.approx(2.01)


def test_an_endless_reset_is_not_waited_for():
    time = FakeTime()
    window = RateLimiter(clock=time.clock, sleep=time.sleep)
    window.update_from_headers(headers(20, 0, reset=86_400))
    with window.slot():
        pass
    assert sum(time.naps) <= 2.1


def test_a_full_window_of_requests_in_progress_is_waited_for():
    window = RateLimiter(limit=1)
    window.update_from_headers({})
    order, inside = [], threading.Event()

    def first():
        with window.slot():
            inside.set()
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    inside.wait(5)
    thread.join(5)
    assert order == ["first"]


def test_a_place_is_given_back_when_the_request_fails():
    time = FakeTime()
    window = RateLimiter(limit=1, clock=time.clock, sleep=time.sleep)
    with pytest.raises(KeyError), window.slot():
        raise KeyError
    with window.slot():
        assert sum(time.naps) == pytest.approx(2.01)


# The ledger


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache" / "tokens.json"


def test_tokens_are_kept_between_processes(path, time):
    TokenBudget(path, clock=time.clock).spend(10)
    budget = TokenBudget(path, clock=time.clock)
    budget.spend(5)
    assert budget.tokens_today == 15
    assert unseal(path.read_bytes()) == {"day": "2026-06-30", "tokens": 15}
    assert "15 tokens today" in repr(budget)


def test_the_file_is_private_and_replaced_complete(path, time):
    old = os.umask(0)
    try:
        budget = TokenBudget(path, clock=time.clock)
        budget.spend(10)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {file.name for file in path.parent.iterdir()} == {"tokens.json", "tokens.json.lock"}
    assert stat.S_IMODE((path.parent / "tokens.json.lock").stat().st_mode) == 0o600


def test_attaching_merges_what_was_counted_before(path, time):
    TokenBudget(path, clock=time.clock).spend(10)
    budget = TokenBudget(clock=time.clock)
    budget.spend(2)
    budget.attach(path)
    assert budget.tokens_today == 12
    assert unseal(path.read_bytes())["tokens"] == 12


def test_two_accounts_that_share_a_cache_share_its_ceiling(path, time):
    first, second = (TokenBudget(path, max_tokens=30, clock=time.clock) for _ in range(2))
    first.spend(10)
    second.spend(10)
    first.spend(10)
    with pytest.raises(BudgetError, match="30 API tokens are spent"):
        second.spend(10)


def test_two_checks_of_the_ceiling_at_once_do_not_both_pass(path, time, monkeypatch):
    budgets = [TokenBudget(path, max_tokens=10, clock=time.clock) for _ in range(2)]
    both_have_seen = threading.Barrier(2)

    def read_late(raw):
        saved = unseal(raw)
        with contextlib.suppress(threading.BrokenBarrierError):
            both_have_seen.wait(0.3)
        return saved

    monkeypatch.setattr("pdframe.api.limits.unseal", read_late)
    refused = []

    def spend(budget):
        try:
            budget.spend(10)
        except BudgetError as error:
            refused.append(error)

    threads = [threading.Thread(target=spend, args=(budget,)) for budget in budgets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert unseal(path.read_bytes())["tokens"] == 10
    assert len(refused) == 1


def test_threads_and_ledgers_lose_no_token(path, time):
    ledgers = [TokenBudget(path, clock=time.clock) for _ in range(3)]

    def spend(budget):
        for _ in range(20):
            budget.spend(3)
            budget.refund(1)

    threads = [
        threading.Thread(target=spend, args=(budget,)) for budget in ledgers for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert unseal(path.read_bytes())["tokens"] == 6 * 20 * 2


def test_a_new_day_starts_at_zero(path, time):
    budget = TokenBudget(path, max_tokens=10, clock=time.clock)
    budget.spend(10)
    time.now = datetime(2026, 6, 30, 23, 59, 59, tzinfo=UTC).timestamp()
    with pytest.raises(BudgetError) as caught:
        budget.spend(10)
    assert caught.value.resume_at == datetime(2026, 7, 1, tzinfo=UTC)
    time.now += 1
    assert budget.tokens_today == 0
    budget.refund(10)  # of a request that was sent before midnight
    assert budget.tokens_today == 0
    budget.spend(10)
    assert unseal(path.read_bytes()) == {"day": "2026-07-01", "tokens": 10}


def test_a_refund_after_midnight_gives_no_credit(time):
    budget = TokenBudget(clock=time.clock)
    budget.spend(10)
    time.now += 86_400
    budget.refund(10)
    assert budget.tokens_today == 0


def test_a_ceiling_below_one_request_says_so():
    with pytest.raises(BudgetError, match="never pay") as caught:
        TokenBudget(max_tokens=5).spend(10)
    assert caught.value.resume_at is None


@pytest.mark.parametrize("bad", [-1, 1.5, "10", True])
def test_a_ceiling_is_an_integer(bad):
    with pytest.raises(ArgumentError, match="max_tokens"):
        TokenBudget(max_tokens=bad)


def test_a_ceiling_of_zero_allows_nothing_that_costs():
    with pytest.raises(BudgetError):
        TokenBudget(max_tokens=0).spend(1)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\xff",
        b'{"day": "2026-06-',
        b"[]",
        b"null",
        b"7",
        b"{}",
        b'{"day": 7, "tokens": 1}',
        b'{"day": "2026-06-30", "tokens": -5}',
        b'{"day": "2026-06-30", "tokens": true}',
        b'{"day": "2026-06-30", "tokens": 1e400}',
        b'{"day": "2026-06-30", "tokens": "9"}',
        b"[" * 100_000,
        seal({"day": "2026-06-30", "tokens": 900}).replace(b"900", b"800"),
        seal({"day": "2026-06-30"}),
    ],
)
def test_a_damaged_file_is_reported_and_written_again(path, time, caplog, content):
    path.parent.mkdir()
    path.write_bytes(content)
    budget = TokenBudget(path, clock=time.clock)
    budget.spend(10)
    assert unseal(path.read_bytes()) == {"day": "2026-06-30", "tokens": 10}
    assert [record.name for record in caplog.records] == ["pdframe"]
    assert "damaged" in caplog.text


def test_a_file_lost_midway_is_written_again_with_what_is_known(path, time):
    budget = TokenBudget(path, clock=time.clock)
    budget.spend(10)
    path.unlink()
    budget.spend(10)
    path.write_bytes(b"garbage")
    budget.spend(10)
    assert budget.tokens_today == 30
    assert unseal(path.read_bytes())["tokens"] == 30


def test_a_file_of_another_day_counts_nothing(path, time):
    path.parent.mkdir()
    path.write_bytes(seal({"day": "2026-06-29", "tokens": 999}))
    assert TokenBudget(path, clock=time.clock).tokens_today == 0


def test_a_folder_that_cannot_be_written_is_a_cache_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheError, match="cache_dir="):
        TokenBudget(tmp_path / "file" / "tokens.json")


def test_a_folder_that_goes_away_is_reported_once_and_stops_nothing(path, time, caplog):
    budget = TokenBudget(path, clock=time.clock)
    budget.spend(10)
    for file in path.parent.iterdir():
        file.unlink()
    path.parent.rmdir()
    budget.spend(10)
    budget.spend(10)
    assert budget.tokens_today == 30
    assert len(caplog.records) == 1


def test_what_a_table_costs_is_distinguished():
    budget = TokenBudget()
    with budget.track("deals") as deals:
        budget.spend(10)
        with budget.track("stages") as stages:
            budget.spend(5)
        budget.spend(10)
        budget.refund(10)
    budget.spend(20)
    assert (deals.requests, deals.tokens) == (2, 10)
    assert (stages.requests, stages.tokens) == (1, 5)
    assert deals.seconds >= stages.seconds > 0
    assert budget.tokens_today == 35


def test_helper_threads_count_for_their_table():
    budget = TokenBudget()

    def help_out(table):
        with budget.track(table):
            budget.spend(10)

    with budget.track("deals") as deals:
        threads = [
            threading.Thread(target=help_out, args=(table,))
            for table in ("deals", "deals", "persons")
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (deals.requests, deals.tokens) == (2, 20)
    assert budget.tokens_today == 30


def test_the_account_s_budget_remains_known_when_a_header_is_missing():
    budget = TokenBudget()
    budget.update_from_headers(
        {"x-daily-ratelimit-token-limit": "30000", "x-daily-ratelimit-token-remaining": "20"}
    )
    budget.update_from_headers({"x-daily-ratelimit-token-remaining": "10"})
    budget.update_from_headers({"x-daily-ratelimit-token-remaining": "some"})
    assert (budget.daily_limit, budget.daily_remaining) == (30000, 10)


def test_the_count_and_its_lock_are_those_of_earlier_versions(path, time):
    """A file that an earlier version wrote is read, and its lock, a `flock` on the file beside it,
    is waited for.
    """
    fcntl = pytest.importorskip("fcntl")
    path.parent.mkdir()
    path.write_bytes(
        b'{"day": "2026-06-30", "tokens": 900, "crc32": %d}'
        % zlib.crc32(b'{"day": "2026-06-30", "tokens": 900}')
    )
    budget, spent = TokenBudget(path, clock=time.clock), threading.Event()
    assert budget.tokens_today == 900
    with open(path.with_name("tokens.json.lock"), "r+b") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        spending = threading.Thread(target=lambda: (budget.spend(10), spent.set()))
        spending.start()
        assert not spent.wait(0.2)
        fcntl.flock(other, fcntl.LOCK_UN)
        assert spent.wait(10)
    spending.join()
    assert unseal(path.read_bytes())["tokens"] == 910


def test_the_ledger_takes_the_same_kind_of_lock_as_the_cache(path, time, monkeypatch):
    import filelock

    locked = []

    class Counting(filelock.FileLock):
        def __init__(self, name, **options):
            locked.append(Path(name).name)
            super().__init__(name, **options)

    monkeypatch.setattr(filelock, "FileLock", Counting)
    TokenBudget(path, clock=time.clock).spend(10)
    assert set(locked) == {"tokens.json.lock"}
