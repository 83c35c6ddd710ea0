"""The page for users says what the harnesses declare."""

from __future__ import annotations

import libraries
import parts
import support


def test_the_page_says_what_the_harnesses_declare():
    assert (parts.ROOT / "docs/reference/support.md").read_text(encoding="utf-8") == support.page()


def test_only_scenarios_are_declared_unsupported():
    known = set(support.scenarios())
    unknown = {name: sorted(set(libraries.load(name).unsupported) - known) for name in libraries.NAMES}
    assert unknown == {name: [] for name in libraries.NAMES}
