"""What only records of execs and of sessions have: rows of the table in collector/records.py."""

from __future__ import annotations

from collector.record_field import OWN, RecordField, always

EXECUTED = ("exec", "running")
SESSION = ("session-start", "session-end")

EXEC_FIELDS = (
    always("process.group_leader.pid", "long", EXECUTED, "The process group's id, as the node sees it."),
    RecordField(
        "process.group_leader.entity_id",
        "keyword",
        EXECUTED,
        "Its first process, unless that has ended.",
    ),
    always("process.session_leader.pid", "long", EXECUTED, "The id of the setsid(2) session, on the node."),
    RecordField(
        "process.session_leader.entity_id",
        "keyword",
        EXECUTED,
        "Its first process, unless that has ended.",
    ),
    RecordField(
        "process.tty.char_device.major",
        "long",
        (*EXECUTED, "session-start"),
        "The controlling terminal; absent without one.",
    ),
    RecordField(
        "process.tty.char_device.minor", "long", (*EXECUTED, "session-start"), "136 and 3 are pts/3."
    ),
    RecordField(
        "process.interactive", "boolean", (*EXECUTED, "session-start"), "True with a controlling terminal."
    ),
    RecordField(
        "process.env_vars",
        "keyword[]",
        EXECUTED,
        "`NAME=VALUE` of those variables that the key `Environment` names; no other is ever told. Of an "
        "environment of more than 16384 bytes the last are looked at, and `podwitness.cut` says so.",
    ),
    RecordField(
        "process.executable",
        "keyword",
        EXECUTED,
        "Path of the binary as its mount namespace has it, links resolved. Starts with `...` when cut. "
        "A binary without file is `/memfd:NAME`.",
    ),
    RecordField(
        "process.args",
        "keyword[]",
        EXECUTED,
        "The arguments, one by one, empty ones too. 4096 bytes are kept of all together.",
    ),
    RecordField(
        "process.command_line",
        "wildcard",
        EXECUTED,
        "The arguments joined by spaces; `process.args` is exact.",
    ),
    always("process.args_count", "long", EXECUTED, "How many arguments there are, cut or not."),
    always(
        "process.working_directory",
        "keyword",
        EXECUTED,
        "As its mount namespace has it. Starts with `...` when cut.",
    ),
    RecordField(
        "podwitness.session.process_cgroup_id",
        "long",
        SESSION,
        "The cgroup of the process. After nsenter it is not that of the record, which is the container's.",
        OWN,
    ),
    RecordField("podwitness.session.processes", "long", ("session-end",), "How many processes it had.", OWN),
    RecordField(
        "podwitness.ancestors",
        "nested[]",
        EXECUTED,
        "`pid`, `entity_id` and `name` of up to 8, the parent first, up to the `process.entry_leader`; as "
        "they were at the forks, whoever is the parent now.",
        OWN,
    ),
    RecordField(
        "podwitness.cut",
        "keyword[]",
        EXECUTED,
        "Names of the fields that were longer than what is kept.",
        OWN,
    ),
    always("podwitness.exec.filename", "keyword", ("exec",), "What was passed to execve(2).", OWN),
    always("podwitness.exec.inode", "long", EXECUTED, "Inode number of the binary.", OWN),
    always("podwitness.exec.device", "keyword", EXECUTED, "Its device, `major:minor`.", OWN),
    always("podwitness.exec.mode", "keyword", EXECUTED, "Its mode, 4 octal digits; 4755 is setuid.", OWN),
    RecordField(
        "podwitness.exec.interpreter",
        "keyword",
        EXECUTED,
        "Of a script (`#!`), which then is `podwitness.exec.filename`: the last interpreter, as it was "
        "named. Those between them are in `process.args`.",
        OWN,
    ),
    RecordField("podwitness.exec.setuid", "boolean", EXECUTED, "True when the mode says so.", OWN),
    RecordField("podwitness.exec.setgid", "boolean", EXECUTED, "True when the mode says so.", OWN),
    RecordField(
        "podwitness.exec.before.user_id",
        "keyword",
        EXECUTED,
        "Effective user before an exec that changed user, group or capabilities. From Linux 6.10 on.",
        OWN,
    ),
    RecordField("podwitness.exec.before.group_id", "keyword", EXECUTED, "Effective group, likewise.", OWN),
    RecordField("podwitness.exec.before.capabilities_effective", "keyword", EXECUTED, "Likewise.", OWN),
    RecordField("podwitness.exec.before.capabilities_permitted", "keyword", EXECUTED, "Likewise.", OWN),
    RecordField("podwitness.exec.tty", "keyword", EXECUTED, "The terminal: `pts3`.", OWN),
    RecordField(
        "podwitness.exec.environment_bytes",
        "long",
        EXECUTED,
        "Length of the environment, when `process.env_vars` is cut.",
        OWN,
    ),
    RecordField(
        "podwitness.exec.args_bytes", "long", EXECUTED, "Length of all arguments, when they are cut.", OWN
    ),
    RecordField(
        "podwitness.exec.args_unreadable",
        "boolean",
        EXECUTED,
        "True when the arguments could not be read.",
        OWN,
    ),
    RecordField(
        "podwitness.exec.memfd", "boolean", EXECUTED, "True when the binary is no file but memory.", OWN
    ),
    RecordField(
        "podwitness.exec.drift",
        "boolean",
        EXECUTED,
        "True when the binary was made or changed in the container: it is not the image's.",
        OWN,
    ),
    RecordField(
        "podwitness.exec.deleted", "boolean", EXECUTED, "True when the binary has no name any more.", OWN
    ),
)
