"""`python -m pdframe` runs the command line."""

import sys

from pdframe.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(main())
