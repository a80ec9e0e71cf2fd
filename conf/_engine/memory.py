"""Takes over from the last build what need not be made again."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


class Memory:
    """What was made in the last build, and of what, in a file."""

    def __init__(self, file: Path, maker: str) -> None:
        self._file = file
        #: What made it: something else might make it otherwise.
        self._maker = maker
        self._now: dict[str, Any] = {}
        self._before: dict[str, Any] = {}
        # Whatever is wrong with the file, all can be made anew.
        with suppress(Exception):
            kept = file.read_bytes()
            self._before = pickle.loads(kept)  # noqa: S301 (our own)

    def made(self, make: Callable[..., T], *of: str | bytes) -> T:
        """Return ``make(*of)``, from the last build if it was made there."""
        digest = hashlib.sha256(
            f"{self._maker} {make.__name__}".encode()
        )
        for part in of:
            data = part.encode() if isinstance(part, str) else part
            digest.update(b"%d " % len(data) + data)
        key = digest.hexdigest()
        if key not in self._now:
            known = key in self._before
            self._now[key] = self._before[key] if known else make(*of)
        found: T = self._now[key]
        return found

    def save(self) -> None:
        """Keep what this build has asked for, and nothing else."""
        if self._now.keys() != self._before.keys():
            # beside and renamed: a build that is killed leaves no half
            half = self._file.with_suffix(".new")
            with suppress(OSError):  # what cannot be kept is made again
                half.write_bytes(pickle.dumps(self._now))
                half.replace(self._file)
