"""Whether the next start can read a file of a log again: by which name, or as what it was compressed to."""

from __future__ import annotations

import os

from collector.delivery.chunk import FileKey
from collector.inputs.follow import head_of, is_file_of
from collector.inputs.tail_open import Refused, open_pinned, pin
from collector.inputs.tail_paths import rotated_siblings
from collector.inputs.vanishing import Vanishing


def is_gone(vanishing: Vanishing, key: FileKey) -> bool:
    """Whether no file of its log is this one, or begins as it. It may be closed."""
    directory, name = os.path.split(vanishing.place)
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return True
    paths = (os.path.join(directory, one) for one in (name, *rotated_siblings(name, names)))
    return vanishing.is_cut_off or not any(_is_it(path, directory, key) for path in paths)


def _is_it(path: str, directory: str, key: FileKey) -> bool:
    try:
        file = open_pinned(pin(path), (directory,))
    except (OSError, Refused):
        return False
    try:
        return is_file_of(file, key) or key.fits(head_of(file, key.fingerprint_bytes))
    finally:
        file.close()
