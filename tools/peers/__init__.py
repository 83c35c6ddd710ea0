"""Suites of the libraries that otjobs instruments, run plain and instrumented: `make peers`.

`frame.py` gets the source, runs it both ways and compares; each library's module says what its suites are.
"""
