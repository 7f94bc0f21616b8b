"""The checks: one row each. They judge facts that were gathered, and look at nothing themselves."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from collector.doctor.attempt import Attempt
from collector.doctor.facts import PODS, STATE, Facts, Folder
from collector.privilege import NEEDS
from probes import netns
from probes.catalog import HOOKS
from probes.launch import HookReport

State = Literal["works", "lesser", "fails", "off"]  # off: not asked for, and it would not work

OLDEST_KERNEL = (5, 8)  # ring buffers
NO_MEMLOCK_SINCE = (5, 11)  # maps count as memory of the cgroup
COMPILING_BYTES = 256 << 20  # what compiling takes, and the collector beside it
# One descriptor a followed file, and one for each that was rotated and is not read to its end; what else
# the collector opens.
DESCRIPTORS_A_FILE, OTHER_DESCRIPTORS = 3, 512
WATCHES_A_FOLDER = 4  # the folder, and files in it
LEAST_WATCHES = 1024
EVERY_HOOK = frozenset(hook.tracepoint for hook in HOOKS)
OF_FLOWS = frozenset(hook.tracepoint for hook in HOOKS if hook.subject == "flow")


class Finding(NamedTuple):
    """`remedy`: what to do; "" where all is well."""

    state: State
    reason: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """`is_needed`: podwitness is not a witness without it."""

    group: str
    name: str
    judge: Callable[[Facts, Attempt], Finding]
    is_needed: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the report."""

    group: str
    check: str
    finding: Finding
    is_needed: bool


def works(reason: str) -> Finding:
    return Finding("works", reason)


def lesser(reason: str, remedy: str) -> Finding:
    return Finding("lesser", reason, remedy)


def fails(reason: str, remedy: str) -> Finding:
    return Finding("fails", reason, remedy)


def off(reason: str, remedy: str) -> Finding:
    return Finding("off", reason, remedy)


def version(facts: Facts, attempt: Attempt) -> Finding:
    if facts.kernel >= OLDEST_KERNEL:
        return works(f"Linux {facts.release}, {facts.machine}")
    return fails(f"Linux {facts.release} has no ring buffer for probes", "Use Linux 5.8 or newer.")


def btf(facts: Facts, attempt: Attempt) -> Finding:
    if facts.btf_bytes:
        return works(f"/sys/kernel/btf/vmlinux describes the kernel's types, {facts.btf_bytes >> 10} KiB")
    return fails(
        "/sys/kernel/btf/vmlinux is missing or can't be read",
        "Use a kernel with CONFIG_DEBUG_INFO_BTF=y, and give the container the host's /sys.",
    )


def overlay(facts: Facts, attempt: Attempt) -> Finding:
    if facts.overlay_btf or not facts.overlay_module:
        return works("known, or built in, or not loaded")
    return lesser(
        "the module overlay has no BTF: binaries that are not from their image are not told from others",
        "Use a kernel with CONFIG_DEBUG_INFO_BTF_MODULES=y (since Linux 5.11).",
    )


def lockdown(facts: Facts, attempt: Attempt) -> Finding:
    if facts.lockdown != "confidentiality":
        return works(f"lockdown is {facts.lockdown or 'not there'}")
    return fails(
        "lockdown=confidentiality: probes may not read kernel memory",
        "Start the kernel with lockdown=integrity.",
    )


def unprivileged_bpf(facts: Facts, attempt: Attempt) -> Finding:
    if facts.unprivileged_bpf != "0":
        return works(f"kernel.unprivileged_bpf_disabled is {facts.unprivileged_bpf or 'not there'}")
    return lesser(
        "every user of this node may load programs into the kernel",
        "sysctl -w kernel.unprivileged_bpf_disabled=2",
    )


def jit(facts: Facts, attempt: Attempt) -> Finding:
    if facts.jit != "0":
        return works("programs are compiled to machine code")
    return lesser(
        "the kernel interprets probes: they cost several times as much", "sysctl -w net.core.bpf_jit_enable=1"
    )


def user_namespace(facts: Facts, attempt: Attempt) -> Finding:
    if facts.is_first_user_namespace:
        return works("the machine's own")
    return fails(
        "in a user namespace capabilities count for nothing outside of it",
        "Leave out hostUsers: false (and rootless runtimes).",
    )


def capability(name: str) -> Callable[[Facts, Attempt], Finding]:
    """Of NEEDS, what is always needed."""
    reasons = " ".join(need.reason for need in NEEDS if need.capability == name and not need.when)

    def judge(facts: Facts, attempt: Attempt) -> Finding:
        if name in facts.held.permitted:
            return works("held")
        if "SYS_ADMIN" in facts.held.permitted and name in ("BPF", "PERFMON"):
            return lesser(
                "SYS_ADMIN stands in for it, which allows far more", f"Grant {name} in place of SYS_ADMIN."
            )
        if name == "SYS_RESOURCE" and facts.kernel >= NO_MEMLOCK_SINCE:
            return works("not held, and of no use since Linux 5.11")
        return fails(f"not held. {reasons}", f"Grant {name} (securityContext.capabilities.add).")

    return judge


def netlink_capabilities(facts: Facts, attempt: Attempt) -> Finding:
    """Of NEEDS, what is for the witness without eBPF."""
    wanted = {need.capability for need in NEEDS if need.holder == "starter" and need.when}
    missing = sorted(wanted - facts.held.permitted)
    if not missing:
        return works(f"{', '.join(sorted(wanted))} are held")
    return lesser(
        f"should eBPF fail, netlink sees less without {', '.join(missing)}",
        'Nothing, while the probes work. Else grant them: see "Without eBPF" in deploy/README.md.',
    )


def seccomp(facts: Facts, attempt: Attempt) -> Finding:
    if not facts.seccomp or not attempt.error:
        return works("a filter is set, and lets probes through" if facts.seccomp else "no filter")
    return lesser(
        "a filter of system calls is set, and no probe could be loaded",
        "Set seccompProfile: Unconfined, or a profile that allows bpf and perf_event_open.",
    )


def bcc(facts: Facts, attempt: Attempt) -> Finding:
    if facts.bcc:
        return works(f"BCC {facts.bcc}")
    remedy = "Install python3-bpfcc (Debian, Ubuntu) or python3-bcc (Fedora) for this Python."
    if any(hook.is_attached for hook in attempt.hooks):
        return lesser(f"{facts.bcc_error}: the kept probes work, until the kernel changes", remedy)
    return fails(facts.bcc_error, remedy)


def memory(facts: Facts, attempt: Attempt) -> Finding:
    limit = facts.memory_limit_bytes
    if limit is None or limit >= COMPILING_BYTES:
        return works("no limit" if limit is None else f"{limit >> 20} MiB")
    return lesser(
        f"{limit >> 20} MiB: compiling the probes may be killed",
        f"Allow {COMPILING_BYTES >> 20} MiB or more.",
    )


def heartbeat(facts: Facts, attempt: Attempt) -> Finding:
    missing = sorted(kind.label for kind in attempt.expected - attempt.heard)
    if attempt.expected and not missing:
        heard = ", ".join(sorted(kind.label for kind in attempt.heard))
        return works(f"{heard} arrived; probes attached in {attempt.took_s:.1f} s")
    if missing:
        return fails(
            f"probes are attached, but {', '.join(missing)} of a process of podwitness did not arrive",
            "Report it with this output; something on the node keeps probes from running.",
        )
    return fails("no probe is attached that could report one", "See the probes above.")


def connector(facts: Facts, attempt: Attempt) -> Finding:
    if not attempt.connector_error:
        return works("processes are seen without eBPF too, if need be")
    remedy = 'Nothing, while the probes work. Else see "Without eBPF" in deploy/README.md.'
    return lesser(attempt.connector_error, remedy)


def tracking(facts: Facts, attempt: Attempt) -> Finding:
    """Of `Trace flow`, what Services translate to."""
    number = attempt.tracking_errno
    if not number:
        return works("what Services translate to is heard of, in the node's network namespace")
    if number == errno.ENOENT:
        return works("nothing tracks connections here, so the kernel translates none")
    said = f"what Services translate to is not seen ({os.strerror(number)})"
    if facts.is_nodes_network:
        return lesser(said, "For `Trace flow` grant NET_ADMIN.")
    return lesser(
        f"{said}: {netns.NOT_ENTERED}", "For `Trace flow` set hostNetwork, as deploy/kustomize/flow."
    )


def cgroups(facts: Facts, attempt: Attempt) -> Finding:
    found = facts.cgroups
    remedy = "Mount the host's /sys/fs/cgroup into the pod."
    if not found.point:
        return fails(f"{found.error}: containers can't be named", remedy)
    if found.has_legacy:
        return lesser(
            f"{found.point} is of version 2, but controllers are of version 1: a container that is in those "
            "only counts as the host, without a name and within the host's limits",
            "Start the node with systemd.unified_cgroup_hierarchy=1 on the kernel's command line.",
        )
    if found.is_whole:
        return works(f"{found.point} shows the whole hierarchy")
    return lesser(f"{found.point} shows only a part of the hierarchy", remedy)


def cgroups_by_id(facts: Facts, attempt: Attempt) -> Finding:
    if facts.cgroups.point and not facts.cgroups.by_id_error:
        return works("a cgroup can be opened by the id that the kernel reports")
    return lesser(
        f"a cgroup can't be opened by its id ({facts.cgroups.by_id_error or 'no hierarchy'}): the whole tree "
        "is walked instead",
        "Grant DAC_READ_SEARCH.",
    )


def pid_namespace(facts: Facts, attempt: Attempt) -> Finding:
    if facts.is_first_pid_namespace:
        return works("the host's")
    return lesser("not the host's: processes can't be looked up by the pids in records", "Set hostPID: true.")


def log_folder(which: Literal["pods", "containers"]) -> Callable[[Facts, Attempt], Finding]:
    def judge(facts: Facts, attempt: Attempt) -> Finding:
        found: Folder = getattr(facts, which)
        if not found.error:
            return works(f"{found.path}, {found.entries} entries")
        return lesser(
            f"{found.path}: {found.error}",
            "In a pod, mount the host's /var/log there. On a node without a kubelet there is none.",
        )

    return judge


def bundles(facts: Facts, attempt: Attempt) -> Finding:
    readable = [folder for folder in facts.bundles if not folder.error]
    if readable:
        return works(", ".join(f"{folder.path} ({folder.entries})" for folder in readable))
    refused = ", ".join(f"{folder.path}: {folder.error}" for folder in facts.bundles)
    return lesser(
        f"{refused or 'no folder of containerd, CRI-O or docker'}: images of containers stay unknown",
        "In a pod, mount the runtime's folder at its own path, read-only; deploy/README.md lists them.",
    )


def cri(facts: Facts, attempt: Attempt) -> Finding:
    found = facts.cri_socket
    if not found.path:
        return works("not in reach: labels and image ids of containers come from the API server only")
    if not found.error:
        return works(f"{found.path} is asked for labels and image ids (Cri_Socket)")
    return lesser(
        f"{found.path}: {found.error}: labels and image ids of containers come from the API server only",
        "Run as root, with the folder of the socket mounted; or leave it out, or set Cri_Socket off.",
    )


def journal(facts: Facts, attempt: Attempt) -> Finding:
    readable = [folder for folder in facts.journals if not folder.error]
    if readable and facts.has_journal_library:
        return works(", ".join(folder.path for folder in readable))
    if not facts.has_journal_library:
        return lesser("Python's systemd library is missing", "Install python3-systemd for `[INPUT] systemd`.")
    refused = ", ".join(f"{folder.path}: {folder.error}" for folder in facts.journals)
    return lesser(
        refused or "there is no journal", "In a pod, mount /var/log and /run/log for `[INPUT] systemd`."
    )


def machine_id(facts: Facts, attempt: Attempt) -> Finding:
    if facts.machine_id and facts.machine_id != "uninitialized":
        return works(f"{facts.machine_id[:8]}..., node {facts.node}")
    return lesser(
        "/etc/machine-id is missing: ids of processes are made of the hardware's or the node's name",
        "Mount the host's /etc/machine-id, or write one with systemd-machine-id-setup.",
    )


def clock(facts: Facts, attempt: Attempt) -> Finding:
    if facts.is_clock_synchronized:
        return works("synchronized")
    if facts.is_clock_synchronized is None:
        return works("nothing is known of it here")
    return lesser("not synchronized: records of two nodes can't be put in order", "Run chrony or timesyncd.")


def watches(facts: Facts, attempt: Attempt) -> Finding:
    if facts.inotify is None:
        return fails("the kernel has no inotify", "Use a kernel with CONFIG_INOTIFY_USER=y.")
    wanted = max(LEAST_WATCHES, WATCHES_A_FOLDER * facts.log_folders)
    told = f"{facts.inotify.watches} for {facts.log_folders} folders of logs"
    if facts.inotify.watches >= wanted:
        return works(told)
    return lesser(
        f"{told}: new files may be found late", f"sysctl -w fs.inotify.max_user_watches={2 * wanted}"
    )


def instances(facts: Facts, attempt: Attempt) -> Finding:
    if facts.inotify is None or facts.inotify.error:
        reason = facts.inotify.error if facts.inotify else "no inotify"
        return fails(f"files can't be watched: {reason}", "sysctl -w fs.inotify.max_user_instances=1024")
    return works(f"{facts.inotify.instances}, not used up")


def descriptors(facts: Facts, attempt: Attempt) -> Finding:
    wanted = OTHER_DESCRIPTORS + DESCRIPTORS_A_FILE * facts.log_folders
    if facts.descriptors == -1 or facts.descriptors >= wanted:
        return works(f"{'no limit' if facts.descriptors == -1 else facts.descriptors}")
    return lesser(
        f"{facts.descriptors}, and {facts.log_folders} containers want {wanted}",
        "Raise the hard limit of open files (LimitNOFILE of the runtime).",
    )


def locked_memory(facts: Facts, attempt: Attempt) -> Finding:
    if facts.kernel >= NO_MEMLOCK_SINCE:
        return works("of no matter since Linux 5.11")
    if facts.locked_memory_bytes == -1 or "SYS_RESOURCE" in facts.held.permitted:
        return works("no limit, or it can be raised")
    return fails(
        f"{facts.locked_memory_bytes >> 10} KiB, and maps take some 20 MiB",
        "Grant SYS_RESOURCE, or raise the limit of locked memory.",
    )


def state(facts: Facts, attempt: Attempt) -> Finding:
    if not facts.state_error:
        return works(f"{STATE} can be written")
    return lesser(
        f"{STATE}: {facts.state_error}: positions are lost at a restart, unless DB names another place",
        f"Make it, or mount it (writable) at {STATE}.",
    )


def capability_rows() -> Iterator[Check]:
    """Those that the probes need without fail first."""
    always = dict.fromkeys(need.capability for need in NEEDS if not need.when)
    for name in always:
        yield Check("privileges", name, capability(name), is_needed=name in ("BPF", "PERFMON"))


BEFORE_PROBES = (
    Check("kernel", "version", version, is_needed=True),
    Check("kernel", "types (BTF)", btf, is_needed=True),
    Check("kernel", "types of overlay", overlay),
    Check("kernel", "lockdown", lockdown, is_needed=True),
    Check("kernel", "unprivileged bpf", unprivileged_bpf),
    Check("kernel", "just-in-time compiler", jit),
    Check("privileges", "user namespace", user_namespace, is_needed=True),
    *capability_rows(),
    Check("privileges", "for netlink", netlink_capabilities),
    Check("privileges", "seccomp", seccomp),
    Check("probes", "compiler", bcc, is_needed=True),
    Check("probes", "memory for it", memory),
)
AFTER_PROBES = (
    Check("probes", "heartbeat", heartbeat, is_needed=True),
    Check("probes", "netlink instead", connector),
    Check("identity", "cgroups", cgroups, is_needed=True),
    Check("identity", "cgroups by id", cgroups_by_id),
    Check("identity", "pid namespace", pid_namespace),
    Check("identity", "runtime's bundles", bundles),
    Check("identity", "runtime's socket", cri),
    Check("identity", "machine id", machine_id),
    Check("identity", "clock", clock),
    Check("logs", PODS, log_folder("pods")),
    Check("logs", "/var/log/containers", log_folder("containers")),
    Check("logs", "journal", journal),
    Check("logs", "inotify watches", watches),
    Check("logs", "inotify instances", instances, is_needed=True),
    Check("limits", "open files", descriptors),
    Check("limits", "locked memory", locked_memory),
    Check("limits", "state", state),
)


def hook_rows(facts: Facts, attempt: Attempt, traced: Collection[str]) -> Iterator[Row]:
    """A row for each hook that was tried; one for all where none could be, and one for all of a subject that
    could not be and are not asked for."""
    if attempt.error:
        yield Row(
            "probes", "all hooks", fails(attempt.error, "See the kernel and the privileges above."), True
        )
    for hook in attempt.hooks:
        if hook.hook in traced or hook.state != "failed":
            is_needed = bool(hook.kinds) and hook.hook in traced
            yield Row("probes", hook.hook, _hook(hook, facts), is_needed)
    failed = [hook for hook in attempt.hooks if hook.hook not in traced and hook.state == "failed"]
    for subject, hook in {hook.subject: hook for hook in reversed(failed)}.items():
        reason = f"not asked for; {hook.hook} could not be attached: {hook.reason}"
        yield Row("probes", f"Trace {subject}", off(reason, _remedy(hook, facts)), is_needed=False)


def tracking_row(facts: Facts, attempt: Attempt, traced: Collection[str]) -> Row:
    found = tracking(facts, attempt)
    is_asked = not OF_FLOWS.isdisjoint(traced) or found.state == "works"
    return Row("probes", "connection tracking", found if is_asked else off(*found[1:]), is_needed=False)


def _remedy(hook: HookReport, facts: Facts) -> str:
    if hook.subject == "flow" and "NET_ADMIN" not in facts.held.permitted:
        return "For `Trace flow` grant NET_ADMIN, and mount the host's /sys/fs/cgroup into the pod."
    return "The reason is the kernel's; a newer kernel or more privileges may help."


def _hook(hook: HookReport, facts: Facts) -> Finding:
    dialect = f"as {hook.dialect}" if hook.dialect else ""
    if hook.state == "attached":
        return works(dialect)
    said = f"{hook.reason}. {hook.consequence}".strip()
    if hook.state == "lesser":
        return lesser(f"{dialect}: {said}", "A newer kernel takes the cheaper way; nothing is missed.")
    if hook.state == "absent":
        return lesser(said, "Nothing, until the node gets a newer kernel.")
    return fails(said, _remedy(hook, facts))


def examine(facts: Facts, attempt: Attempt, traced: Collection[str] = EVERY_HOOK) -> list[Row]:
    """All rows, in the order in which one thing needs the other. `traced` are the hooks of probes that are
    asked for, by tracepoint."""

    def rows(checks: tuple[Check, ...]) -> Iterator[Row]:
        return (
            Row(check.group, check.name, check.judge(facts, attempt), check.is_needed) for check in checks
        )

    of_probes = [*hook_rows(facts, attempt, traced), tracking_row(facts, attempt, traced)]
    return [*rows(BEFORE_PROBES), *of_probes, *rows(AFTER_PROBES)]
