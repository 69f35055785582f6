"""How much of the tests of faults is run: 1 in `make test`, 10 and more in `make chaos`."""

import os

SCALE = int(os.environ.get("PDFRAME_FAULTS", "1"))
# In `make chaos` the draws differ from run to run, unless a seed is given to repeat one.
SEED = int(os.environ.get("PDFRAME_FAULTS_SEED", "1" if SCALE == 1 else str(int.from_bytes(os.urandom(4), "big"))))
