"""Room that stays free for merges: an eighth of the disk and at most a GiB, as far as no merge has reserved it."""

from __future__ import annotations

import errno
from types import SimpleNamespace

import pytest

from otjobs.backend.server import room

MIB, GIB = 1 << 20, 1 << 30


class Handle:
    """chDB's, which knows what merges have reserved."""

    def __init__(self, unreserved: int) -> None:
        self.unreserved, self.asked = unreserved, 0

    def query(self, *_args, **_kwargs):
        self.asked += 1
        return SimpleNamespace(bytes=lambda: f"{self.unreserved}\n".encode())


@pytest.mark.parametrize(
    ("total", "free", "unreserved", "fits", "asked"),
    [
        (64 * MIB, 40 * MIB, 40 * MIB, True, 0),  # far from full
        (64 * MIB, 20 * MIB, 20 * MIB, True, 1),
        (64 * MIB, 20 * MIB, 8 * MIB, False, 1),  # merges have reserved the rest
        (64 * MIB, 8 * MIB, 8 * MIB, False, 0),
        (500 * GIB, 2 * GIB, 2 * GIB, True, 1),  # a GiB is enough for any disk
        (500 * GIB, GIB, GIB, False, 0),
    ],
)
def test_some_of_the_disk_stays_free(monkeypatch, tmp_path, total, free, unreserved, fits, asked):
    monkeypatch.setattr(room.shutil, "disk_usage", lambda _: SimpleNamespace(total=total, free=free))
    handle = Handle(unreserved)
    if fits:
        room.check(handle, tmp_path, 100_000)
    else:
        with pytest.raises(OSError, match="stay free for merges") as told:
            room.check(handle, tmp_path, 100_000)
        assert told.value.errno == errno.ENOSPC
    assert handle.asked == asked
