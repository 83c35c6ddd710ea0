"""The queue of a Celery job, by the name that the application chose.

A message has an exchange and a routing key; which queue that is only the bindings tell. A publication also knows what
Celery's router chose. Everything here is read from the application at hand and changes nothing in it: its table of
queues creates a queue for each unknown name that is looked up by subscript, and its routers are the user's code.
"""

from __future__ import annotations

import fnmatch
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from otjobs.faults import guard

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_DELAY: Final = re.compile(r"(?:[01]\.){28}")
"""What kombu's native delayed delivery puts before a routing key: the seconds, in binary."""
_LEAST_DELAYED: Final = 56
"""Characters of a routing key with that."""
_MOST: Final = 1000
_known: WeakKeyDictionary[Any, tuple[int, dict[tuple[str, str, str], str]]] = WeakKeyDictionary()
"""Application -> (its number of queues, (exchange, routing key, preferred) -> queue)."""


def name_of(entity: Any) -> str:
    """Return the name of a queue or exchange, given as such or by name; a broadcast queue's is its alias."""
    return str(getattr(entity, "alias", None) or getattr(entity, "name", entity) or "")


def queue_of(app: Any, exchange: Any, routing_key: Any, preferred: str = "") -> str:
    """Return the queue that gets messages of this exchange and routing key, '' where the application knows none.

    Args:
        app: the application that sends or runs the job, or None.
        exchange: an exchange or its name; without one the routing key is the queue's name.
        routing_key: also with the prefix of a delayed delivery, whose exchange is not the application's.
        preferred: the one to take where there are several.
    """
    exchange, key = name_of(exchange), str(routing_key or "")
    undelayed = _DELAY.sub("", key, count=1) if len(key) >= _LEAST_DELAYED else key
    if undelayed != key:
        exchange, key = "", undelayed
    elif not exchange:
        return key
    queues = _built(app)
    if not queues:
        return ""
    size, known = _known.get(app, (0, {}))
    if size != len(queues) or len(known) >= _MOST:
        _known[app] = len(queues), (known := {})
    found = known.get((exchange, key, preferred))
    if found is None:
        bound = [name_of(queue) for queue in queues.values() if _is_bound(queue, exchange, key)]
        found = preferred if preferred in bound else next(iter(bound), "")
        known[exchange, key, preferred] = found
    return found


def _built(app: Any) -> Mapping[str, Any]:
    """Return the queues of an application, none before it has made them: making them would fix its settings."""
    amqp = None if app is None else vars(app).get("amqp")
    return {} if amqp is None else vars(amqp).get("queues") or {}


def _is_bound(queue: Any, exchange: str, key: str) -> bool:
    for bound, pattern in _bindings(queue):
        kind = getattr(bound, "type", "direct")
        if exchange and name_of(bound) != exchange:
            continue
        if not exchange and kind == "direct":  # gets no delayed messages
            continue
        if kind == "fanout" or pattern == key or (kind == "topic" and _matches(pattern, key)):
            return True
    return False


def _bindings(queue: Any) -> Iterator[tuple[Any, str]]:
    exchange = getattr(queue, "exchange", None)
    if exchange is not None:
        yield exchange, str(getattr(queue, "routing_key", "") or "")
    for binding in getattr(queue, "bindings", None) or ():
        yield binding.exchange, str(binding.routing_key or "")


@lru_cache(maxsize=_MOST)
def _matches(pattern: str, key: str) -> bool:
    """Tell whether a topic exchange's pattern takes the key: `*` is one word, `#` any number of words."""

    def match(words: list[str], of: list[str]) -> bool:
        if not words:
            return not of
        if words[0] == "#":
            return match(words[1:], of) or bool(of and match(words, of[1:]))
        return bool(of) and words[0] in ("*", of[0]) and match(words[1:], of[1:])

    return match(pattern.split("."), key.split(".") if key else [])


def routed_queue(app: Any, route: Mapping[str, Any]) -> str:
    """Return the queue of what Celery's router chose: a queue, and a key or exchange that may lead past it."""
    queue, exchange, key = route.get("queue"), route.get("exchange"), route.get("routing_key")
    if queue is None and exchange is None:
        queue = _built(app).get(app.conf.task_default_queue)
    name, own = name_of(queue), getattr(queue, "exchange", None)
    if queue is not None:
        direct = (route.get("exchange_type") or getattr(own, "type", "direct")) == "direct"
        if direct and not (exchange and key):  # sent to the queue by its name
            return name
        exchange = own if exchange is None else exchange
        if name_of(exchange) == name_of(own) and key in (None, "", getattr(queue, "routing_key", None)):
            return name
    return queue_of(app, exchange, key, name) or str(key or "") or name_of(exchange)


def published_queue(app: Any, message: Mapping[str, Any]) -> str:
    """Return the queue of a message that no router of Celery was seen to route."""
    exchange, key = name_of(message.get("exchange")), str(message.get("routing_key") or "")
    declared = name_of(next(iter(message.get("declare") or ()), None))
    return queue_of(app, exchange, key, declared) or _DELAY.sub("", key, count=1) or exchange


def delivered_queue(app: Any, delivery: Mapping[str, Any], first: str) -> str:
    """Return the queue that a message came from, that of its first publication where the delivery does not tell."""
    exchange, key = str(delivery.get("exchange") or ""), str(delivery.get("routing_key") or "")
    return queue_of(app, exchange, key, first) or first or _DELAY.sub("", key, count=1) or exchange


def is_broadcast(app: Any, delivery: Mapping[str, Any]) -> bool:
    """Tell whether a message came through an exchange that hands it to every queue, as that of kombu's `Broadcast`."""
    exchange = delivery.get("exchange")
    return bool(exchange) and any(
        name_of(bound) == exchange and getattr(bound, "type", "") == "fanout"
        for queue in _built(app).values()
        for bound, _ in _bindings(queue)
    )


def configured_queue(app: Any, task: Any, options: Mapping[str, Any]) -> str:
    """Return the queue of a task that is not published, '' where only a router function of the user knows."""
    with guard("the queue of a job is unknown"):
        given = {key: options.get(key) or getattr(task, key, None) for key in ("queue", "exchange", "routing_key")}
        if not given["queue"]:
            routes = app.conf.task_routes or ()
            for route in routes if isinstance(routes, (list, tuple)) else (routes,):
                if not hasattr(route, "items") and not isinstance(route, (list, tuple)):
                    return ""
                found = _mapped(dict(route), task.name)
                if found is not None:
                    given = {key: given[key] or found.get(key) for key in given}
                    break
        exchange, key = given["exchange"], given["routing_key"]
        if not given["queue"] and exchange:
            return queue_of(app, exchange, key) or str(key or "") or name_of(exchange)
        return name_of(given["queue"] or app.conf.task_default_queue)
    return ""


def _mapped(routes: Mapping[Any, Any], name: str) -> Mapping[str, Any] | None:
    """Return what a map of routes says of a task: by name, by name with `*`, by regular expression."""
    found = routes.get(name)
    if found is None:
        for pattern, route in routes.items():
            if isinstance(pattern, str):
                matched = "*" in pattern and fnmatch.fnmatchcase(name, pattern)
            else:
                matched = bool(pattern.match(name))
            if matched:
                found = route
                break
    return {"queue": found} if isinstance(found, str) else found
