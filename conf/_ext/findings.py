"""What extensions find in each document, kept from build to build."""

from __future__ import annotations

from typing import Generic, TypeVar

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

T = TypeVar("T")


class Findings(Generic[T]):
    """One thing of each document, in the environment under ``name``."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, env: BuildEnvironment) -> dict[str, T]:
        """Return what is known, by the documents' names."""
        known: dict[str, T] = vars(env).setdefault(self._name, {})
        return known

    def keep(self, app: Sphinx) -> None:
        """Forget a document that is gone, or about to be read anew.

        Take over what a parallel reader found.
        """
        app.connect("env-purge-doc", self._forget)
        app.connect("env-merge-info", self._merge)

    def _forget(
        self, _app: Sphinx, env: BuildEnvironment, name: str
    ) -> None:
        self(env).pop(name, None)

    def _merge(
        self,
        _app: Sphinx,
        env: BuildEnvironment,
        names: set[str],
        other: BuildEnvironment,
    ) -> None:
        theirs = self(other)
        self(env).update(
            {name: theirs[name] for name in names if name in theirs}
        )
