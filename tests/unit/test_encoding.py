"""One text or time that cannot be encoded costs itself at most, whatever the exporter, whoever made the span."""

from __future__ import annotations

import importlib
import json
import logging
import os

import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otjobs
from otjobs import attributes as a
from otjobs import config, errors
from otjobs.sdk import careful_encoder
from otjobs.testing import capture_jobs
from otjobs.texts import bounded, mended

BAD = os.fsdecode(b"M\xfcller")
"""A file name in Latin-1, as Python reads it: a lone surrogate is in it."""
HALF = "\ud83d"
"""Half of an emoji."""


@pytest.fixture
def spans():
    """A function that returns a span, and one that returns all of them."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("the application's")

    def make(name="fine", *, change=lambda _: None, **more):
        span = tracer.start_span(name, **more)
        change(span)
        span.end(more.get("start_time", 0) + 5 if isinstance(more.get("start_time"), int) else None)

    yield make, exporter.get_finished_spans
    provider.shutdown()


def test_lone_surrogates_are_written_so_that_texts_stay_different():
    assert mended("plain") == "plain"
    assert mended("Müller 😀") == "Müller 😀"
    assert mended(BAD) == "M\\udcfcller"
    assert mended("\ud83d\ude00") == "😀"  # two halves that belong together
    assert mended(HALF) != mended("\ud83e")
    assert bounded("x" * 2000, 100) != bounded("x" * 2000 + "y", 100)
    assert len(bounded(HALF * 100, 100)) <= 100


FAULTS = {
    "name": {"name": "name " + BAD},
    "status": {"change": lambda s: s.set_status(trace.Status(trace.StatusCode.ERROR, BAD))},
    "event": {"change": lambda s: s.add_event(BAD, {"k": "v"})},
    "late name": {"change": lambda s: s.update_name(HALF)},
    "float time": {"start_time": 1.7e18},
    "negative time": {"start_time": -5},
    "late time": {"start_time": 2**64 + 1},
}


def encoded(request):
    """Return the names in an OTLP request of the SDK."""
    return [s.name for r in request.resource_spans for sc in r.scope_spans for s in sc.spans]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_span_of_the_application_that_cannot_be_encoded_is_mended_and_its_neighbours_leave(spans, fault):
    make, made = spans
    make("before")
    make(**FAULTS[fault])
    make("after")
    with pytest.raises((ValueError, TypeError, OverflowError)):
        encode_spans(made())  # what the SDK does with the batch
    before = sum(errors.fault_counts().values())
    names = encoded(careful_encoder.Careful(encode_spans)(made()))
    assert len(names) == 3
    assert (names[0], names[2]) == ("before", "after")
    assert sum(errors.fault_counts().values()) == before + 1


class Unreadable(ReadableSpan):
    """A span that no encoder and no mending gets anything from."""

    @property
    def name(self):
        raise RuntimeError("no name")


def test_a_span_that_cannot_be_mended_costs_itself_and_is_counted(spans, caplog):
    make, made = spans
    make("before")
    make("after")
    one, two = made()
    what = "a span cannot be encoded and was left out of its batch"
    before = errors.fault_counts().get(what, 0)
    assert encoded(careful_encoder.Careful(encode_spans)([one, Unreadable("x"), two, Unreadable("y")])) == [
        "before",
        "after",
    ]
    assert errors.fault_counts()[what] == before + 2


def _is_there(name):
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:  # OTLP/JSON is a distribution of its own, not of every release
        return False
    return True


MODULES = [name for name in careful_encoder.EXPORTERS if _is_there(name)]


def test_the_exporters_for_protobuf_are_there():
    assert len([name for name in MODULES if ".proto." in name]) == 2


@pytest.mark.parametrize("name", MODULES)
def test_every_exporter_encodes_with_care(spans, name):
    module = importlib.import_module(name)
    with capture_jobs():
        otjobs.dispatching("a").end()  # the first job prepares the exporters that are loaded
    make, made = spans
    for kind in FAULTS.values():
        make(**kind)
    make("good", attributes={"file": BAD} if ".json." in name else None)
    request = module.encode_spans(made())
    assert len(encoded(request)) == len(FAULTS) + 1
    if ".json." in name:
        body = request.to_json()
        body.encode()
        assert "\\ud" not in body.replace("\\\\u", "")  # only as text, not as JSON's escape of a lone surrogate
        assert json.loads(body)


def test_an_encoder_that_takes_everything_is_given_sound_spans(spans):
    """JSON has an escape for a lone surrogate, and receivers refuse the request that has one."""
    make, made = spans
    make("good", attributes={"file": BAD})
    make(**FAULTS["name"])
    make(**FAULTS["float time"])
    careful = careful_encoder.Careful(
        lambda batch: [(s.name, dict(s.attributes), s.start_time) for s in batch], lenient=True
    )
    found = careful(made())
    assert len(found) == 3
    json.dumps(found, ensure_ascii=False).encode()
    assert all(type(start) is int for _, _, start in found)
    assert found[0][1] == {"file": mended(BAD)}


PLACES = {
    "type": lambda: _job("type" + BAD),
    "queue": lambda: _job(queue="q" + BAD),
    "id": lambda: _job(job_id="id" + BAD),
    "system": lambda: _job(system=BAD),
    "label": lambda: _job(labels={"file": BAD}),
    "label name": lambda: _job(labels={BAD: "x"}),
    "trigger": lambda: _job(trigger="request", trigger_name=BAD),
    "exception": lambda: _job(error=ValueError(BAD)),
    "exception class": lambda: _job(error=type("Bad", (Exception,), {"__module__": BAD})(HALF)),
    "error type": lambda: _job(outcome=BAD),
    "worker": lambda: _job(worker=HALF),
    "renamed": lambda: _job(renamed="id" + BAD),
    "attribute of the application": lambda: _job(attribute=BAD),
}


def _job(job_type="fine", *, error=None, outcome="", worker="", renamed="", attribute="", **more):
    with otjobs.dispatching(job_type, **more) as d:
        if renamed:
            d.rename(renamed)
    try:
        with otjobs.executing(d.carrier, worker=worker) as run:
            if outcome:
                run.set_outcome("failure", error_type=outcome)
            if attribute:
                trace.get_current_span().set_attributes({"file": attribute, "files": [attribute], attribute: 1})
            if error is not None:
                raise error
    except (ValueError, type(error)) as raised:
        assert raised is error  # noqa: PT017
    json.dumps(d.carrier).encode()
    assert all(part.encode() for pair in d.carrier.items() for part in pair if part)


@pytest.mark.parametrize("how", ["type", "message", "stack"])
@pytest.mark.parametrize("place", PLACES)
def test_every_text_of_ours_is_mended_where_spans_are_made(place, how, monkeypatch, caplog):
    monkeypatch.setenv("OTEL_PYTHON_OTJOBS_EXCEPTIONS", how)
    config.settings.cache_clear()
    try:
        with capture_jobs() as captured, caplog.at_level(logging.WARNING):
            PLACES[place]()
            names = encoded(encode_spans(captured.spans))  # the SDK's own, which takes no lone surrogate
            assert len(names) == 2
            one, two = captured.spans
            assert one.attributes[a.JOB_ID] == two.attributes[a.JOB_ID]
            assert all(careful_encoder._is_sound(span) for span in captured.spans)
    finally:
        monkeypatch.undo()
        config.settings.cache_clear()
    assert [r.message for r in caplog.records if r.name.startswith("opentelemetry")] == []
