"""The colophon tells what is there, and the day that it is told."""

import platform
import socket
import sys
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError

import pytest

from multithreading.lab.colophon import maker, moment, versions


def test_the_moment_is_now():
    now = datetime.now(UTC)
    assert timedelta() <= moment() - now < timedelta(minutes=1)


def test_the_moment_of_a_repeated_build_is_the_first_ones(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert moment() == datetime(1970, 1, 2, tzinfo=UTC)
    assert maker()["made (UTC)"] == "02 January 1970, 00:00"


def test_the_maker_is_this_interpreter_on_a_machine_without_a_name():
    told = maker()
    assert platform.python_version() in told["interpreter"]
    assert told["implementation"] == sys.implementation.cache_tag
    assert int(told["cores it could use"]) >= 1
    assert "/" not in "".join(told.values())
    assert socket.gethostname() not in told.values()


def test_versions_are_those_installed():
    assert list(versions(["pytest"])) == ["pytest"]
    assert versions(["pytest"])["pytest"] == pytest.__version__
    with pytest.raises(PackageNotFoundError):
        versions(["no-such-package"])
