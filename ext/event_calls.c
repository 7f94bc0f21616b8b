/* The tables of event_calls.h. Names and numbers are those of the kernel's uapi headers, without the prefix that
 * all of a kind share. */
#include "event_calls.h"

#define COUNT(rows) (sizeof(rows) / sizeof(rows)[0])
#define MAGIC_MASK UINT64_C(0xffff0000)

static const struct pw_number_name NAMESPACES[] = {
    {0x80, "CLONE_NEWTIME"}, {0x20000, "CLONE_NEWNS"}, {0x2000000, "CLONE_NEWCGROUP"}, {0x4000000, "CLONE_NEWUTS"},
    {0x8000000, "CLONE_NEWIPC"}, {0x10000000, "CLONE_NEWUSER"}, {0x20000000, "CLONE_NEWPID"},
    {0x40000000, "CLONE_NEWNET"},
};
const struct pw_number_names pw_namespace_names = {NAMESPACES, COUNT(NAMESPACES), 0, 0};
/* clone(2) has its other flags and a signal in the same word. */
static const struct pw_number_names CLONED_NAMESPACES = {NAMESPACES, COUNT(NAMESPACES), ~UINT64_C(0x7e020000), 0};

static const struct pw_number_name MOUNTS[] = {
    {0x1, "MS_RDONLY"}, {0x2, "MS_NOSUID"}, {0x4, "MS_NODEV"}, {0x8, "MS_NOEXEC"}, {0x10, "MS_SYNCHRONOUS"},
    {0x20, "MS_REMOUNT"}, {0x40, "MS_MANDLOCK"}, {0x80, "MS_DIRSYNC"}, {0x100, "MS_NOSYMFOLLOW"},
    {0x400, "MS_NOATIME"}, {0x800, "MS_NODIRATIME"}, {0x1000, "MS_BIND"}, {0x2000, "MS_MOVE"}, {0x4000, "MS_REC"},
    {0x8000, "MS_SILENT"}, {0x10000, "MS_POSIXACL"}, {0x20000, "MS_UNBINDABLE"}, {0x40000, "MS_PRIVATE"},
    {0x80000, "MS_SLAVE"}, {0x100000, "MS_SHARED"}, {0x200000, "MS_RELATIME"}, {0x800000, "MS_I_VERSION"},
    {0x1000000, "MS_STRICTATIME"}, {0x2000000, "MS_LAZYTIME"},
};
/* MS_MGC_VAL is in place of the upper flags, then, as the kernel has it. */
static const struct pw_number_names MOUNT_FLAGS = {MOUNTS, COUNT(MOUNTS), 0, 0xc0ed0000};

/* Those of fsconfig(2) that are told. */
static const struct pw_number_name FSCONFIGS[] = {
    {1, "SET_STRING"}, {7, "CMD_RECONFIGURE"},
};
static const struct pw_number_names FSCONFIG_COMMANDS = {FSCONFIGS, COUNT(FSCONFIGS), 0, 0};

static const struct pw_number_name UMOUNTS[] = {
    {1, "MNT_FORCE"}, {2, "MNT_DETACH"}, {4, "MNT_EXPIRE"}, {8, "UMOUNT_NOFOLLOW"},
};
static const struct pw_number_names UMOUNT_FLAGS = {UMOUNTS, COUNT(UMOUNTS), 0, 0};

static const struct pw_number_name OPENS[] = {
    {0x1, "O_WRONLY"}, {0x2, "O_RDWR"}, {0x40, "O_CREAT"}, {0x80, "O_EXCL"}, {0x200, "O_TRUNC"},
    {0x400, "O_APPEND"},
};
/* The same on all machines. The others say nothing of what happens to the file. */
static const struct pw_number_names OPEN_FLAGS = {OPENS, COUNT(OPENS), ~UINT64_C(0x6c3), 0};

static const struct pw_number_name MEMFDS[] = {
    {1, "MFD_CLOEXEC"}, {2, "MFD_ALLOW_SEALING"}, {4, "MFD_HUGETLB"}, {8, "MFD_NOEXEC_SEAL"}, {16, "MFD_EXEC"},
};
static const struct pw_number_names MEMFD_FLAGS = {MEMFDS, COUNT(MEMFDS), 0, 0};

static const struct pw_number_name PTRACES[] = {
    {0x0, "TRACEME"}, {0x4, "POKETEXT"}, {0x5, "POKEDATA"}, {0xd, "SETREGS"}, {0x10, "ATTACH"},
    {0x4205, "SETREGSET"}, {0x4206, "SEIZE"},
};
static const struct pw_number_names PTRACE_REQUESTS = {PTRACES, COUNT(PTRACES), 0, 0};

static const struct pw_number_name BPFS[] = {
    {0, "MAP_CREATE"}, {5, "PROG_LOAD"}, {6, "OBJ_PIN"}, {7, "OBJ_GET"}, {8, "PROG_ATTACH"}, {9, "PROG_DETACH"},
    {13, "PROG_GET_FD_BY_ID"}, {14, "MAP_GET_FD_BY_ID"}, {17, "RAW_TRACEPOINT_OPEN"}, {18, "BTF_LOAD"},
    {28, "LINK_CREATE"}, {29, "LINK_UPDATE"}, {30, "LINK_GET_FD_BY_ID"}, {32, "ENABLE_STATS"}, {33, "ITER_CREATE"},
    {34, "LINK_DETACH"}, {35, "PROG_BIND_MAP"}, {36, "TOKEN_CREATE"},
};
static const struct pw_number_names BPF_COMMANDS = {BPFS, COUNT(BPFS), 0, 0};

static const struct pw_number_name KEYCTLS[] = {
    {0, "GET_KEYRING_ID"}, {1, "JOIN_SESSION_KEYRING"}, {2, "UPDATE"}, {3, "REVOKE"}, {4, "CHOWN"}, {5, "SETPERM"},
    {6, "DESCRIBE"}, {7, "CLEAR"}, {8, "LINK"}, {9, "UNLINK"}, {10, "SEARCH"}, {11, "READ"}, {12, "INSTANTIATE"},
    {13, "NEGATE"}, {14, "SET_REQKEY_KEYRING"}, {15, "SET_TIMEOUT"}, {16, "ASSUME_AUTHORITY"}, {17, "GET_SECURITY"},
    {18, "SESSION_TO_PARENT"}, {19, "REJECT"}, {20, "INSTANTIATE_IOV"}, {21, "INVALIDATE"}, {22, "GET_PERSISTENT"},
    {23, "DH_COMPUTE"}, {24, "PKEY_QUERY"}, {25, "PKEY_ENCRYPT"}, {26, "PKEY_DECRYPT"}, {27, "PKEY_SIGN"},
    {28, "PKEY_VERIFY"}, {29, "RESTRICT_KEYRING"}, {30, "MOVE"}, {31, "CAPABILITIES"}, {32, "WATCH_KEY"},
};
static const struct pw_number_names KEYCTL_OPERATIONS = {KEYCTLS, COUNT(KEYCTLS), 0, 0};

enum { INTEGER = PW_FORM_INTEGER, COUNTED = PW_FORM_COUNT, MODE = PW_FORM_MODE, DEVICE = PW_FORM_DEVICE,
       SIGNAL = PW_FORM_SIGNAL, NAME = PW_FORM_NAME, SET = PW_FORM_SET, FLAGS = PW_FORM_FLAGS };

static const struct pw_call_row CALLS[] = { /* in the order of CALLS in probes/syscalls.py */
    {"setuid", {""}, 0, {{"uid", 0, INTEGER, NULL}}},
    {"setreuid", {""}, 0, {{"uid", 0, INTEGER, NULL}, {"euid", 1, INTEGER, NULL}}},
    {"setresuid", {""}, 0, {{"uid", 0, INTEGER, NULL}, {"euid", 1, INTEGER, NULL}, {"suid", 2, INTEGER, NULL}}},
    {"setfsuid", {""}, 0, {{"fsuid", 0, INTEGER, NULL}}},
    {"setgid", {""}, 0, {{"gid", 0, INTEGER, NULL}}},
    {"setregid", {""}, 0, {{"gid", 0, INTEGER, NULL}, {"egid", 1, INTEGER, NULL}}},
    {"setresgid", {""}, 0, {{"gid", 0, INTEGER, NULL}, {"egid", 1, INTEGER, NULL}, {"sgid", 2, INTEGER, NULL}}},
    {"setfsgid", {""}, 0, {{"fsgid", 0, INTEGER, NULL}}},
    {"setgroups", {""}, 0, {{"count", 0, INTEGER, NULL}}},
    {"capset", {""}, 0, {{.form = PW_FORM_NONE}}},
    {"ptrace", {""}, 0, {{"request", 0, NAME, &PTRACE_REQUESTS}, {"pid", 1, INTEGER, NULL}}},
    {"pidfd_getfd", {""}, 0, {{"descriptor", 0, INTEGER, NULL}}},
    {"mount", {"source", "path", "type"}, 1, {{"flags", 3, FLAGS, &MOUNT_FLAGS}}},
    {"move_mount", {"source", "path"}, 1, {{.form = PW_FORM_NONE}}},
    {"open_tree", {"path"}, 1, {{.form = PW_FORM_NONE}}},
    {"open_tree_attr", {"path"}, 1, {{.form = PW_FORM_NONE}}},
    {"fsopen", {"type"}, 0, {{.form = PW_FORM_NONE}}},
    {"fspick", {"path"}, 1, {{.form = PW_FORM_NONE}}},
    {"fsconfig", {"source"}, 0, {{"descriptor", 0, INTEGER, NULL}, {"operation", 1, NAME, &FSCONFIG_COMMANDS}}},
    {"fsmount", {""}, 0, {{"descriptor", 0, INTEGER, NULL}}},
    {"mount_setattr", {"path"}, 1, {{.form = PW_FORM_NONE}}},
    {"umount2", {"path"}, 1, {{"flags", 1, FLAGS, &UMOUNT_FLAGS}}},
    {"pivot_root", {"path", "put_old"}, 1, {{.form = PW_FORM_NONE}}},
    {"chroot", {"path"}, 1, {{.form = PW_FORM_NONE}}},
    {"unshare", {""}, 0, {{"flags", 0, FLAGS, &pw_namespace_names}}},
    {"setns", {""}, 0, {{"descriptor", 0, INTEGER, NULL}, {"flags", 1, FLAGS, &pw_namespace_names}}},
    {"clone", {""}, 0, {{"flags", 0, FLAGS, &CLONED_NAMESPACES}}},
    {"bpf", {""}, 0, {{"command", 0, NAME, &BPF_COMMANDS}}},
    {"perf_event_open", {""}, 0, {{"pid", 1, INTEGER, NULL}, {"cpu", 2, INTEGER, NULL}}},
    {"init_module", {"parameters"}, 0, {{"bytes", 1, COUNTED, NULL}}},
    {"finit_module", {"parameters"}, 0, {{"flags", 2, COUNTED, NULL}}},
    {"delete_module", {"module"}, 0, {{"flags", 1, COUNTED, NULL}}},
    {"kexec_load", {""}, 0, {{"segments", 1, COUNTED, NULL}, {"flags", 3, COUNTED, NULL}}},
    {"kexec_file_load", {""}, 0, {{"flags", 4, COUNTED, NULL}}},
    {"memfd_create", {"name"}, 0, {{"flags", 1, FLAGS, &MEMFD_FLAGS}}},
    {"process_vm_writev", {""}, 0, {{"pid", 0, INTEGER, NULL}}},
    {"keyctl", {""}, 0, {{"operation", 0, NAME, &KEYCTL_OPERATIONS}, {"key", 1, INTEGER, NULL}}},
    {"add_key", {"type", "description"}, 0, {{"keyring", 4, INTEGER, NULL}}},
    {"request_key", {"type", "description"}, 0, {{"keyring", 3, INTEGER, NULL}}},
    {"chmod", {"path"}, 1, {{"mode", 1, MODE, NULL}}},
    {"fchmod", {""}, 0, {{"mode", 1, MODE, NULL}}},
    {"fchmodat", {"path"}, 1, {{"mode", 2, MODE, NULL}}},
    {"fchmodat2", {"path"}, 1, {{"mode", 2, MODE, NULL}}},
    {"chown", {"path"}, 1, {{"uid", 1, INTEGER, NULL}, {"gid", 2, INTEGER, NULL}}},
    {"lchown", {"path"}, 1, {{"uid", 1, INTEGER, NULL}, {"gid", 2, INTEGER, NULL}}},
    {"fchown", {""}, 0, {{"uid", 1, INTEGER, NULL}, {"gid", 2, INTEGER, NULL}}},
    {"fchownat", {"path"}, 1, {{"uid", 2, INTEGER, NULL}, {"gid", 3, INTEGER, NULL}}},
    {"mknod", {"path"}, 1, {{"mode", 1, MODE, NULL}, {"device", 2, DEVICE, NULL}}},
    {"mknodat", {"path"}, 1, {{"mode", 2, MODE, NULL}, {"device", 3, DEVICE, NULL}}},
    {"symlink", {"points_to", "path"}, 1, {{.form = PW_FORM_NONE}}},
    {"symlinkat", {"points_to", "path"}, 1, {{.form = PW_FORM_NONE}}},
    {"link", {"points_to", "path"}, 1, {{.form = PW_FORM_NONE}}},
    {"linkat", {"points_to", "path"}, 1, {{.form = PW_FORM_NONE}}},
    {"kill", {""}, 0, {{"pid", 0, INTEGER, NULL}, {"signal", 1, SIGNAL, NULL}}},
    {"tkill", {""}, 0, {{"tid", 0, INTEGER, NULL}, {"signal", 1, SIGNAL, NULL}}},
    {"tgkill", {""}, 0, {{"pid", 0, INTEGER, NULL}, {"tid", 1, INTEGER, NULL}, {"signal", 2, SIGNAL, NULL}}},
    {"pidfd_send_signal", {""}, 0, {{"descriptor", 0, INTEGER, NULL}, {"signal", 1, SIGNAL, NULL}}},
    {"open_by_handle_at", {""}, 0, {{"descriptor", 0, INTEGER, NULL}}},
    {"io_uring_setup", {""}, 0, {{"entries", 0, COUNTED, NULL}}},
    {"open", {"path"}, 2, {{"flags", 2, FLAGS, &OPEN_FLAGS}}},
    {"openat", {"path"}, 2, {{"flags", 2, FLAGS, &OPEN_FLAGS}}},
    {"openat2", {"path"}, 2, {{"flags", 2, FLAGS, &OPEN_FLAGS}}},
    {"creat", {"path"}, 2, {{"flags", 2, FLAGS, &OPEN_FLAGS}}},
    {"truncate", {"path"}, 1, {{.form = PW_FORM_NONE}}},
    {"unlink", {"path"}, 1, {{.form = PW_FORM_NONE}}},
    {"unlinkat", {"path"}, 1, {{.form = PW_FORM_NONE}}},
    {"rename", {"path", "new_path"}, 1, {{.form = PW_FORM_NONE}}},
    {"renameat", {"path", "new_path"}, 1, {{.form = PW_FORM_NONE}}},
    {"renameat2", {"path", "new_path"}, 1, {{.form = PW_FORM_NONE}}},
    {"connect", {"path"}, 0, {{.form = PW_FORM_NONE}}},
    {"setxattr", {"path"}, 1, {{"permitted", 5, SET, NULL}}},
    {"lsetxattr", {"path"}, 1, {{"permitted", 5, SET, NULL}}},
    {"fsetxattr", {""}, 0, {{"permitted", 5, SET, NULL}}},
    {"setxattrat", {"path"}, 1, {{"permitted", 5, SET, NULL}}},
};

const struct pw_call_row *pw_call_row(unsigned call)
{
  return call >= 1 && call <= sizeof CALLS / sizeof CALLS[0] ? &CALLS[call - 1] : NULL;
}

uint8_t *pw_put_name(uint8_t *p, const struct pw_number_names *names, uint64_t number)
{
  for (uint32_t at = 0; at < names->count; at++)
    if (names->rows[at].number == number)
      return put_literal(p, names->rows[at].text, strlen(names->rows[at].text));
  return pw_put_decimal(p, number);
}

uint8_t *pw_put_flags(uint8_t *p, const struct pw_number_names *names, uint64_t flags)
{
  if (names->magic != 0 && (flags & MAGIC_MASK) == names->magic)
    flags &= ~MAGIC_MASK;
  uint64_t unnamed = flags & ~names->ignored;
  unsigned items = 0;
  uint8_t *const array = p++; /* its header: never more than 15 flags that are named, see below */
  for (uint32_t at = 0; at < names->count && items < 14; at++) {
    if (!(unnamed & names->rows[at].number))
      continue;
    p = put_literal(p, names->rows[at].text, strlen(names->rows[at].text));
    unnamed &= ~names->rows[at].number;
    items++;
  }
  if (unnamed != 0) { /* what has no name, and what has no place behind 14 others */
    p = pw_put_hex64(p, unnamed);
    items++;
  }
  *array = (uint8_t)(0x90 | items);
  return p;
}
