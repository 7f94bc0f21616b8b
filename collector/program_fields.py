"""What records tell of the program that their process runs: rows of the table in collector/records.py."""

from __future__ import annotations

from collector.record_field import RecordField


def parent_fields(kinds: tuple[str, ...]) -> tuple[RecordField, ...]:
    """`kinds`: those about an exec."""
    return (
        RecordField("process.parent.executable", "keyword", kinds, "What the parent runs then, likewise."),
        RecordField("process.parent.args", "keyword[]", kinds, "Its arguments."),
        RecordField("process.parent.args_count", "long", kinds, "How many there are, cut or not."),
    )


def program_fields(kinds: tuple[str, ...]) -> tuple[RecordField, ...]:
    """`kinds`: all that are not about an exec, which tells more."""
    return (
        RecordField(
            "process.executable",
            "keyword",
            kinds,
            "The same, of the program that the process runs; of one that ran another when the connection was "
            "made, that. 1024 bytes at most. Where processes are traced; absent when the exec was not seen, "
            "or it can't be told which of two programs it was. `Program Off`: neither it nor its arguments.",
        ),
        RecordField(
            "process.args", "keyword[]", kinds, "Its arguments; 1024 bytes are kept of all together."
        ),
        RecordField("process.args_count", "long", kinds, "How many there are, cut or not."),
    )
