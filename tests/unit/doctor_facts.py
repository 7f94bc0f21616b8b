"""Facts of a machine on which all is well, for tests to spoil."""

from __future__ import annotations

from collector.doctor.attempt import Attempt
from collector.doctor.facts import Cgroups, Facts, Folder, Inotify, Socket
from collector.inputs.event_heartbeat import PROVABLE
from collector.privilege import CAPABILITIES, Held
from probes.catalog import HOOKS, Dialect
from probes.launch import HookReport

HELD = Held(frozenset(CAPABILITIES), frozenset(CAPABILITIES), frozenset(CAPABILITIES), no_new_privs=False)
FACTS = Facts(
    node="node1",
    kernel=(6, 1),
    release="6.1.0-18-amd64",
    machine="x86_64",
    btf_bytes=5 << 20,
    overlay_btf=True,
    overlay_module=True,
    lockdown="none",
    unprivileged_bpf="2",
    jit="1",
    held=HELD,
    is_first_user_namespace=True,
    is_first_pid_namespace=True,
    is_nodes_network=True,
    seccomp=False,
    bcc="0.26.0",
    bcc_error="",
    memory_limit_bytes=512 << 20,
    locked_memory_bytes=8 << 20,
    descriptors=1 << 20,
    cgroups=Cgroups("/sys/fs/cgroup", "", is_whole=True),
    pods=Folder("/var/log/pods", 30),
    log_folders=70,
    containers=Folder("/var/log/containers", 70),
    bundles=(Folder("/run/containerd/io.containerd.runtime.v2.task/k8s.io", 100),),
    cri_socket=Socket("/run/containerd/containerd.sock"),
    journals=(Folder("/var/log/journal", 1),),
    has_journal_library=True,
    machine_id="0123456789abcdef0123456789abcdef",
    state_error="",
    inotify=Inotify(524288, 128),
    is_clock_synchronized=True,
)
ATTEMPT = Attempt(
    hooks=tuple(
        HookReport(hook.subject, hook.tracepoint, hook.kinds, "attached", "", "", Dialect.TP_BTF)
        for hook in HOOKS
    ),
    took_s=1.2,
    expected=PROVABLE,
    heard=PROVABLE,
    latency_s=0.01,
)
