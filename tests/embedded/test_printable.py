from __future__ import annotations

import logging

import pytest

from otjobs.backend.server.printable import PrintableFormatter, printable


@pytest.mark.parametrize(
    "text", ["a\x1b[31mb", "\x9b2J", "\x07", "\r", "\u202e", "\u200b", "\u2066", "\ud800", "\x7f", "\ufeff", "\x00"]
)
def test_what_a_terminal_obeys_is_replaced(text):
    shown = printable(text)
    assert "\N{REPLACEMENT CHARACTER}" in shown
    assert shown.replace("[31m", "").replace("2J", "").isprintable()


def test_texts_of_people_stay_what_they_are():
    for text in ("Käse für 3 €", "\u4f60\u597d", "\U0001f600", "a\tb\nc", "x = y"):
        assert printable(text) == text


def test_a_log_line_cannot_forge_another():
    record = logging.LogRecord("n", logging.WARNING, "", 0, "span %s", ("a\x1b[2K\r\nlogin ok",), None)
    assert (
        PrintableFormatter("%(message)s").format(record)
        == "span a\N{REPLACEMENT CHARACTER}[2K\N{REPLACEMENT CHARACTER} login ok"
    )
