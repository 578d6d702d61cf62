"""Entry point of `tvmconv` and `python -m tvmconv`."""

import sys


def main() -> int:
    """cli.main, with Ctrl-C as silent during its import as it is later."""
    try:
        from tvmconv import cli

        return cli.main()
    except KeyboardInterrupt:
        return 130  # cli.INTERRUPTED, which may not be there yet


if __name__ == "__main__":
    sys.exit(main())
