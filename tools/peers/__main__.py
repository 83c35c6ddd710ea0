"""`python -m peers [NAME ...] [--part]`, in the folder tools: run the suites of libraries plain and instrumented."""

from __future__ import annotations

import argparse

from peers import celery, frame, rq

SUITES = {suite.name: suite for suite in (*celery.SUITES, *rq.SUITES)}


def main() -> int:
    """Return 1 if a test passes only plain."""
    parser = argparse.ArgumentParser(prog="peers", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"all, unless some are named of: {', '.join(SUITES)}")
    parser.add_argument("--part", action="store_true", help="only what CI has time for")
    given = parser.parse_args()
    unknown = [name for name in given.names if name not in SUITES]
    if unknown:
        parser.error(f"no such suite: {', '.join(unknown)}; there are {', '.join(SUITES)}")
    return frame.main([SUITES[name] for name in given.names or SUITES], part=given.part)


if __name__ == "__main__":
    raise SystemExit(main())
