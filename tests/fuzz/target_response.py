"""What a web server answers, in any pieces, and whole."""

from __future__ import annotations

from collector.outputs.connector import ProtocolError
from collector.outputs.http_response import Response, ResponseReader


def read(data: bytes, cut: int) -> Response | None:
    reader = ResponseReader(1000)
    for begin in range(0, len(data), cut):
        found = reader.feed(data[begin : begin + cut])
        if found is not None:
            return found
    return reader.end()


def target(data: bytes) -> None:
    """The first byte says into which pieces the rest is cut."""
    if not data:
        return
    answers: list[tuple[int, dict[str, str], bytes] | None] = []
    for cut in (data[0] or 1, 1):
        try:
            found = read(data[1:], cut)
        except ProtocolError:
            answers.append(None)
        else:
            assert found is not None
            assert len(found.body) <= 1000
            answers.append((found.status, found.headers, found.body))
    # In larger pieces something may follow the response, or be wrong with what follows.
    assert None in answers or answers[0] == answers[1]
