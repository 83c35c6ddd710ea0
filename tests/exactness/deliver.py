"""Deliveries: the ways in which spans reach the store, as batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

    from spans_of import Span

Batches = list[list["Span"]]


def cut(spans: list[Span], rng: random.Random, most: int = 8) -> Batches:
    """Cut into at most so many batches, anywhere."""
    edges = sorted(rng.randint(0, len(spans)) for _ in range(rng.randint(0, most - 1)))
    return [b for a, z in zip([0, *edges], [*edges, len(spans)], strict=True) if (b := spans[a:z])]


def once(spans: list[Span], rng: random.Random) -> Batches:
    """Every span once, in the order in which it ended."""
    return [sorted(spans, key=lambda span: span.end)]


def repeated(spans: list[Span], rng: random.Random) -> Batches:
    """Batches that come one to five times, as a sender repeats them."""
    return [batch for batch in cut(spans, rng, 4) for _ in range(rng.randint(1, 5))]


def recut(spans: list[Span], rng: random.Random) -> Batches:
    """Everything twice, the second time in other batches."""
    return cut(spans, rng) + cut(spans, rng)


def shuffled(spans: list[Span], rng: random.Random) -> Batches:
    return cut(rng.sample(spans, len(spans)), rng)


def late(spans: list[Span], rng: random.Random) -> Batches:
    """Newest first: what was sent first comes last, days after what followed from it."""
    return cut(sorted(spans, key=lambda span: -span.end), rng)


def without_dispatch(spans: list[Span], rng: random.Random) -> Batches:
    """No dispatch span of a job arrives at all."""
    return cut([span for span in spans if span.operation != "send"], rng)


def everything(spans: list[Span], rng: random.Random) -> Batches:
    """Some dispatch spans missing, each span one to five times, shuffled, in batches of any size."""
    kept = [span for span in spans if span.operation != "send" or rng.random() < 0.7]
    copies = [span for span in kept for _ in range(rng.randint(1, 5))]
    return cut(rng.sample(copies, len(copies)), rng)


def everything_in_the_end(spans: list[Span], rng: random.Random) -> Batches:
    """Each span one to three times, shuffled, in rather many batches."""
    copies = [span for span in spans for _ in range(rng.randint(1, 3))]
    return cut(rng.sample(copies, len(copies)), rng, 12)


DELIVERIES = (once, repeated, recut, shuffled, late, without_dispatch, everything)
