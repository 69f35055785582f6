"""The sandbox held against the specification, by the checker that knows nothing of it."""

import subprocess
import sys
from pathlib import Path

import pytest

from pdframe.sandbox.company import Company
from pdframe.sandbox.server import Server

CHECKER = Path(__file__).resolve().parents[3] / "shared" / "checks" / "conform.py"


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "deals"), [(7, 2_000), *((seed, 400) for seed in range(1, 6))])
def test_the_sandbox_conforms_to_the_specification(seed, deals):
    if not CHECKER.exists():
        pytest.skip("the conformance checker (../shared/checks/conform.py) is not beside this checkout")
    with Server(Company(seed=seed, deals=deals), burst=1_000_000, search_burst=1_000_000) as server:
        command = [sys.executable, str(CHECKER), "--base-url", server.url, "--api-token", server.token]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert server.crashes == []
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.rstrip().endswith(" 0 failed"), done.stdout
