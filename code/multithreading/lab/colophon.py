"""What made a copy of the book: interpreter, packages, machine, day."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version

from multithreading.multitasking.scheduling import build, usable_cores

#: The packages that shape a page, of the many that are installed.
SHAPING = (
    "sphinx",
    "myst-nb",
    "sphinx-book-theme",
    "ipykernel",
    "nbclient",
    "matplotlib",
    "requests",
    "typst",
)


def moment() -> datetime:
    """Return the time, in UTC, that this copy is to bear.

    It is now, or the seconds since 1970 in ``SOURCE_DATE_EPOCH``, by
    which a build of yesterday's sources can be repeated to the byte.
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if epoch is None:
        return datetime.now(UTC)
    return datetime.fromtimestamp(int(epoch), UTC)


def maker() -> dict[str, str]:
    """Return what runs this code; no name, no path of the machine."""
    return {
        "interpreter": build(),
        "compiler": platform.python_compiler(),
        "implementation": sys.implementation.cache_tag or "",
        "system": f"{platform.system()}, {platform.machine()}",
        "cores it could use": str(usable_cores()),
        "made (UTC)": moment().strftime("%d %B %Y, %H:%M"),
    }


def versions(names: Iterable[str] = SHAPING) -> dict[str, str]:
    """Return the installed version of each package.

    Raises importlib.metadata.PackageNotFoundError for one that is not.
    """
    return {name: version(name) for name in names}
