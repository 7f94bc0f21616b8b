"""Time zones as texts name them: `Z`, `+0200`, `-05:30`, `CEST`.

Fluent Bit knows the same abbreviations (src/flb_strptime.c). Where one is in use for several zones (CST, IST)
it is the one that Fluent Bit takes.
"""

from __future__ import annotations

import re

ZONE = re.compile(r"([+-])(\d\d):?(\d\d)?|([A-Za-z]+)")

# Hours east of Greenwich.
_HOURS: dict[float, str] = {
    -10: "hst",
    -9: "akst hadt",
    -8: "pst akdt",
    -7: "mst pdt",
    -6: "cst mdt",
    -5: "est cdt",
    -4: "edt ast clt",
    -3.5: "nst",
    -3: "adt art brt clst",
    -2.5: "ndt",
    -2: "brst",
    0: "z ut utc gmt wet",
    1: "west cet wat",
    2: "cest eet cat sast",
    3: "eest msk eat",
    4: "gst",
    5.5: "ist",
    5.75: "npt",
    6: "bdt",
    7: "ict wib",
    8: "awst sgt wita myt",
    9: "jst kst wit",
    9.5: "acst",
    10: "aest",
    10.5: "acdt",
    11: "aedt",
    12: "nzst",
    13: "nzdt",
}
# Military letters, without J: a to m go east, n to y west.
_LETTERS = {letter: hours for hours, letter in enumerate("abcdefghiklm", 1)} | {
    letter: -hours for hours, letter in enumerate("nopqrstuvwxy", 1)
}
_OFFSETS_S = {
    name: int(hours * 3600)
    for hours, names in (*_HOURS.items(), *((hours, letter) for letter, hours in _LETTERS.items()))
    for name in names.split()
}


def zone_offset_s(written: str) -> int | None:
    """Seconds east of Greenwich; None for another text."""
    found = ZONE.fullmatch(written)
    if found is None:
        return None
    if found[4]:
        return _OFFSETS_S.get(found[4].lower())
    minutes = int(found[2]) * 60 + int(found[3] or 0)
    return (-60 if found[1] == "-" else 60) * minutes
