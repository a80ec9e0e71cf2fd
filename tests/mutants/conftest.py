"""Tests of the mutations, where Cosmic Ray is installed."""

from importlib.util import find_spec

if find_spec("cosmic_ray") is None:  # use nox -s mutants
    collect_ignore_glob = ["test_*.py"]
