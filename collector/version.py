"""Which podwitness this is."""

from __future__ import annotations

from importlib import metadata


def version() -> str:
    """Of the installed package; "0" for a tree that was not installed."""
    try:
        return metadata.version("podwitness")
    except metadata.PackageNotFoundError:
        return "0"
