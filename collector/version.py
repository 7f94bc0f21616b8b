"""Which podwitness this is."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import cache

_PREFIX, _SUFFIX = "podwitness-", ".dist-info"


@cache
def version() -> str:
    """Of the installed package; "0" for a tree that was not installed."""
    return version_in(sys.path)


def version_in(folders: Sequence[str]) -> str:
    """By the name of the folder that an installation leaves beside the packages. importlib.metadata reads the
    same out of a file in it, with parsers of mail and zip files that take 1.3 MiB of memory."""
    for folder in folders:
        try:
            names = os.listdir(folder or ".")
        except OSError:  # a path may lead nowhere, or to a zip file
            continue
        for name in names:
            if name.startswith(_PREFIX) and name.endswith(_SUFFIX):
                return name.removeprefix(_PREFIX).removesuffix(_SUFFIX)
    return "0"
