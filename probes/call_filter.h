/* Which calls are told, by their arguments: those that say something. */
#ifndef PODWITNESS_CALL_FILTER_H
#define PODWITNESS_CALL_FILTER_H
#include "dialect.h"
#include "events.h"
#include "file_calls.h"

#define S_IFMT 0170000
#define S_IFCHR 0020000
#define S_IFBLK 0060000
/* Without CLONE_NEWTIME: the low byte of clone(2)'s flags is a signal. */
#define CLONE_NEW_BY_CLONE 0x7e020000ull

#define FSCONFIG_SET_STRING 1
#define FSCONFIG_CMD_RECONFIGURE 7

/* ptrace(2): what takes hold of a process or writes to it */
#define PTRACE_TRACEME 0
#define PTRACE_POKETEXT 4
#define PTRACE_POKEDATA 5
#define PTRACE_SETREGS 13
#define PTRACE_ATTACH 16
#define PTRACE_SETREGSET 0x4205
#define PTRACE_SEIZE 0x4206

/* bpf(2): what makes, finds or attaches maps, programs and links. Not what uses a map that is open already. */
#define COMMAND(number) (1ull << (number))
#define BPF_COMMANDS_SEEN \
  (COMMAND(0) | COMMAND(5) | COMMAND(6) | COMMAND(7) | COMMAND(8) | COMMAND(9) | COMMAND(13) | COMMAND(14) | \
   COMMAND(17) | COMMAND(18) | COMMAND(28) | COMMAND(29) | COMMAND(30) | COMMAND(32) | COMMAND(33) | COMMAND(34) | \
   COMMAND(35) | COMMAND(36))

static __always_inline bool is_ptrace_seen(u64 request)
{
  return request == PTRACE_TRACEME || request == PTRACE_POKETEXT || request == PTRACE_POKEDATA ||
         request == PTRACE_SETREGS || request == PTRACE_ATTACH || request == PTRACE_SETREGSET ||
         request == PTRACE_SEIZE;
}

static __always_inline bool is_device(u64 mode)
{
  return (mode & S_IFMT) == S_IFCHR || (mode & S_IFMT) == S_IFBLK;
}

/* struct vfs_cap_data of uapi/linux/capability.h; the kernel takes none that is shorter. */
struct file_capabilities {
  u32 version_and_flags;
  struct {
    u32 permitted, inheritable;
  } half[2];
};

/* setxattr(2) and its like set what else belongs to a file, too: only security.capability says something. */
static __always_inline bool is_of_capabilities(struct pw_privilege *out, bool has_folder)
{
  struct file_capabilities set = {};
  u64 name[3] = {}, value = has_folder ? out->arguments[4] : out->arguments[2];
  bpf_probe_read_user_str(name, sizeof(name), (void *)(has_folder ? out->arguments[3] : out->arguments[1]));
  if (name[0] != 0x7974697275636573ull || name[1] != 0x6c6962617061632eull || name[2] != 0x797469ull)
    return false;
  if (has_folder) /* setxattrat: the first member of struct xattr_args */
    bpf_probe_read_user(&value, sizeof(value), (void *)value);
  bpf_probe_read_user(&set, sizeof(set), (void *)value);
  out->arguments[5] = (u64)set.half[1].permitted << 32 | set.half[0].permitted;
  return true;
}

/* fsconfig(2) passes each option of a file system that is to be mounted, passwords too: only what is mounted is told,
 * and that one which is mounted already is changed. */
static __always_inline bool is_config_seen(const struct pw_privilege *out)
{
  u64 key = 0;
  if (out->arguments[1] != FSCONFIG_SET_STRING)
    return out->arguments[1] == FSCONFIG_CMD_RECONFIGURE;
  bpf_probe_read_user_str(&key, sizeof(key), (void *)out->arguments[2]);
  return key == 0x656372756f73ull; /* source */
}

/* What of a call is of interest, by its arguments. A mode is the argument behind the path or descriptor. */
static __always_inline bool is_seen(struct pw_privilege *out, u32 kind, bool has_folder)
{
  const u64 *arguments = out->arguments;
  const u64 mode = has_folder ? arguments[2] : arguments[1];
  switch (kind) {
    case PW_PRIVILEGE_CHMOD:
      return mode & SET_ID_MODES || out->marks & PW_MADE_SET_ID;
    case PW_PRIVILEGE_MOUNT:
      return out->call != CALL_fsconfig || is_config_seen(out);
    case PW_PRIVILEGE_SETXATTR:
      return is_of_capabilities(out, has_folder);
    case PW_PRIVILEGE_MKNOD:
      return is_device(mode) || mode & SET_ID_MODES;
    case PW_PRIVILEGE_KILL: /* what was sent is told by signal_generate */
      return (s64)out->result == EPERM_RESULT;
    case PW_PRIVILEGE_CLONE: /* what was made is told by task_newtask; in the child the call returns 0 too */
      return (s64)out->result < 0 && arguments[0] & CLONE_NEW_BY_CLONE;
    case PW_PRIVILEGE_PTRACE:
      return out->call != CALL_ptrace || is_ptrace_seen(arguments[0]);
    case PW_PRIVILEGE_BPF:
      return arguments[0] > 36 || BPF_COMMANDS_SEEN >> (arguments[0] & 63) & 1;
    default:
      return true;
  }
}

/* Byte by byte: there is no memcmp to call, and the texts lie at any address. */
#define STARTS_WITH(text, prefix) starts_with(text, prefix, sizeof(prefix) - 1)
static __always_inline bool starts_with(const char *text, const char *prefix, u32 bytes)
{
#pragma unroll
  for (u32 at = 0; at < bytes; at++)
    if (text[at] != prefix[at])
      return false;
  return true;
}

/* Where a link that points there is a way to somebody else's secrets. Runtimes make links to /proc/self in each
 * container. */
static __always_inline bool is_place_that_matters(const char *text)
{
  if (STARTS_WITH(text, "/proc/"))
    return !STARTS_WITH(text, "/proc/self/");
  return STARTS_WITH(text, "/etc/") || STARTS_WITH(text, "/root") || STARTS_WITH(text, "/run/") ||
         STARTS_WITH(text, "/var/run/") || STARTS_WITH(text, "/var/lib/kubelet") || STARTS_WITH(text, "/boot") ||
         STARTS_WITH(text, "../../../..") || (text[0] == '/' && text[1] == 0);
}

#endif
