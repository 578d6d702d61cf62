"""`python -m tvmconv`: the same command as `tvmconv` on the PATH."""

import sys

from tvmconv.cli import main

if __name__ == "__main__":
    sys.exit(main())
