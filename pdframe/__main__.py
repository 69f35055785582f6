"""`python -m pdframe` is the command line."""

import sys

from pdframe.cli import main

if __name__ == "__main__":
    sys.exit(main())
