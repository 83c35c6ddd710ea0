"""Clients of RabbitMQ under their instrumentations: `python rabbit_app.py pika|aio_pika|faststream`, two messages each."""

from __future__ import annotations

import asyncio
import os
import sys
import time

from telling import provide

MESSAGES = ("", "m1")
"""The ids that the application gives."""


def pika_app() -> None:
    import pika
    from opentelemetry.instrumentation.pika import PikaInstrumentor

    PikaInstrumentor().instrument()
    connection = pika.BlockingConnection(pika.URLParameters(os.environ["APP_RABBITMQ"].rstrip("/") + "/%2F"))
    channel = connection.channel()
    channel.queue_declare("pk", durable=True)
    for message_id in MESSAGES:
        channel.basic_publish("", "pk", b"x", pika.BasicProperties(message_id=message_id or None))
    handled = []

    def handle(its_channel, method, _properties, body) -> None:
        time.sleep(0.2)
        handled.append(body)
        its_channel.basic_ack(method.delivery_tag)
        if len(handled) == len(MESSAGES):
            its_channel.stop_consuming()

    channel.basic_consume("pk", handle)
    channel.start_consuming()
    connection.close()


async def aio_pika_app() -> None:
    import aio_pika
    from opentelemetry.instrumentation.aio_pika import AioPikaInstrumentor

    AioPikaInstrumentor().instrument()
    connection = await aio_pika.connect(os.environ["APP_RABBITMQ"])
    channel = await connection.channel()
    queue = await channel.declare_queue("aio", durable=True)
    for message_id in MESSAGES:
        await channel.default_exchange.publish(aio_pika.Message(b"x", message_id=message_id or None), "aio")
    handled = asyncio.Semaphore(0)

    async def handle(message) -> None:
        async with message.process():
            await asyncio.sleep(0.2)
        handled.release()

    await queue.consume(handle)
    for _ in MESSAGES:
        await handled.acquire()
    await connection.close()


async def faststream_app(provider) -> None:
    from faststream.rabbit import RabbitBroker
    from faststream.rabbit.opentelemetry import RabbitTelemetryMiddleware

    broker = RabbitBroker(
        os.environ["APP_RABBITMQ"], middlewares=(RabbitTelemetryMiddleware(tracer_provider=provider),)
    )
    handled = asyncio.Semaphore(0)

    @broker.subscriber("fsq")
    async def handle(text: str) -> None:
        await asyncio.sleep(0.2)
        handled.release()

    await broker.start()
    for message_id in MESSAGES:
        await broker.publish("x", "fsq", message_id=message_id or None)
    for _ in MESSAGES:
        await handled.acquire()
    await broker.stop()


if __name__ == "__main__":
    kind = sys.argv[1]
    traced = provide(f"{kind}-app")
    if kind == "pika":
        pika_app()
    else:
        asyncio.run(aio_pika_app() if kind == "aio_pika" else faststream_app(traced))
    traced.shutdown()
