"""How much of the tests of faults is run: 1 in `make check`, 10 and more in `make chaos`."""

import os

from hypothesis import HealthCheck, settings

from tests.helpers import tiers

SCALE = int(os.environ.get("PDFRAME_FAULTS", "1"))
# In `make chaos` the draws differ from run to run, unless a seed is given to repeat one.
SEED = int(
    os.environ.get(
        "PDFRAME_FAULTS_SEED", "1" if SCALE == 1 else str(int.from_bytes(os.urandom(4), "big"))
    )
)


def examples(count: int) -> settings:
    """Return how many examples of a property are drawn; the same each time but in `make chaos`."""
    return settings(
        max_examples=tiers.examples(count) if SCALE == 1 else count * SCALE,
        deadline=None,
        derandomize=SCALE == 1,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
