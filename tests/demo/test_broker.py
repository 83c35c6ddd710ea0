"""The folder broker: every message once and whole, in order, from any number of processes."""

from __future__ import annotations

import multiprocessing
import os
import queue
import time

from kombu import Connection

from otjobs.backend.demo import broker

MESSAGES = 400
PRODUCERS = 3


def connection(folder):
    found = broker.settings(str(folder))
    return Connection(found["broker_url"], transport_options=found["broker_transport_options"])


def produce(folder, number):
    with connection(folder) as wire:
        producer = wire.Producer()
        for i in range(MESSAGES):
            producer.publish({"from": number, "i": i, "pad": "x" * 2000}, exchange="", routing_key="work")


def consume(folder, out):
    with connection(folder) as wire:
        channel = wire.channel()
        silent_since = time.monotonic()
        got = []
        while time.monotonic() - silent_since < 2:
            try:
                message = channel._get("work")
            except queue.Empty:
                time.sleep(0.001)
                continue
            silent_since = time.monotonic()
            got.append(message)
    out.put([channel.decode_body(m["body"], m["properties"]["body_encoding"]) for m in got])


def test_every_message_arrives_once_and_whole_whoever_takes_it(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    out = spawn.Queue()
    workers = [spawn.Process(target=produce, args=(tmp_path, n)) for n in range(PRODUCERS)]
    workers += [spawn.Process(target=consume, args=(tmp_path, out)) for _ in range(2)]
    for worker in workers:
        worker.start()
    import json

    taken = [[json.loads(body) for body in out.get(timeout=100)] for _ in range(2)]
    for worker in workers:
        worker.join(20)
    assert [worker.exitcode for worker in workers] == [0] * 5
    seen = [(m["from"], m["i"]) for one in taken for m in one]
    assert sorted(seen) == [(n, i) for n in range(PRODUCERS) for i in range(MESSAGES)]
    for one in taken:  # each consumer sees each producer's messages in order
        for number in range(PRODUCERS):
            own = [m["i"] for m in one if m["from"] == number]
            assert own == sorted(own)
    assert os.listdir(tmp_path / "messages") == []


def test_queues_whose_names_end_alike_are_apart(tmp_path):
    with connection(tmp_path) as wire:
        channel = wire.channel()
        for name in ("a.b", "b"):
            channel._put(name, {"to": name})
        assert channel._get("b") == {"to": "b"}
        assert channel._size("a.b") == 1
        assert channel._get("a.b") == {"to": "a.b"}


def test_a_consumer_that_stops_gives_back_what_it_had_not_acknowledged(tmp_path):
    with connection(tmp_path) as wire:
        simple = wire.SimpleQueue("work")
        simple.put("one")
        assert simple.get(timeout=5).payload == "one"
    with connection(tmp_path) as wire:
        message = wire.SimpleQueue("work").get(timeout=5)
        assert message.payload == "one"
        message.ack()
