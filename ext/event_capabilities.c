/* process.thread.capabilities: what the bits of a set are called. */
#include "event_encode.h"

enum { BITS = 64 };

#define NAME(literal) {literal, sizeof(literal) - 1}

/* By number; include/uapi/linux/capability.h. */
static const struct {
  char text[23];
  uint8_t bytes;
} NAMES[] = {
    NAME("CAP_CHOWN"), NAME("CAP_DAC_OVERRIDE"), NAME("CAP_DAC_READ_SEARCH"), NAME("CAP_FOWNER"),
    NAME("CAP_FSETID"), NAME("CAP_KILL"), NAME("CAP_SETGID"), NAME("CAP_SETUID"), NAME("CAP_SETPCAP"),
    NAME("CAP_LINUX_IMMUTABLE"), NAME("CAP_NET_BIND_SERVICE"), NAME("CAP_NET_BROADCAST"),
    NAME("CAP_NET_ADMIN"), NAME("CAP_NET_RAW"), NAME("CAP_IPC_LOCK"), NAME("CAP_IPC_OWNER"),
    NAME("CAP_SYS_MODULE"), NAME("CAP_SYS_RAWIO"), NAME("CAP_SYS_CHROOT"), NAME("CAP_SYS_PTRACE"),
    NAME("CAP_SYS_PACCT"), NAME("CAP_SYS_ADMIN"), NAME("CAP_SYS_BOOT"), NAME("CAP_SYS_NICE"),
    NAME("CAP_SYS_RESOURCE"), NAME("CAP_SYS_TIME"), NAME("CAP_SYS_TTY_CONFIG"), NAME("CAP_MKNOD"),
    NAME("CAP_LEASE"), NAME("CAP_AUDIT_WRITE"), NAME("CAP_AUDIT_CONTROL"), NAME("CAP_SETFCAP"),
    NAME("CAP_MAC_OVERRIDE"), NAME("CAP_MAC_ADMIN"), NAME("CAP_SYSLOG"), NAME("CAP_WAKE_ALARM"),
    NAME("CAP_BLOCK_SUSPEND"), NAME("CAP_AUDIT_READ"), NAME("CAP_PERFMON"), NAME("CAP_BPF"),
    NAME("CAP_CHECKPOINT_RESTORE"),
};

static const unsigned NAMED = sizeof NAMES / sizeof NAMES[0];

/* A capability that is newer than the table is CAP_41. */
static uint8_t *put_name(uint8_t *p, unsigned number)
{
  if (number < NAMED)
    return put_literal(p, NAMES[number].text, NAMES[number].bytes);
  uint8_t *const end = pw_put_decimal(p + 4, number);
  memcpy(p + 1, "CAP_", 4); /* in place of the number's own header too */
  pw_put_str_head(p, (uint32_t)(end - p - 1));
  return end;
}

static uint8_t *put_set(uint8_t *p, uint64_t set)
{
  p = pw_put_array_head(p, (uint32_t)__builtin_popcountll(set));
  for (; set != 0; set &= set - 1)
    p = put_name(p, (unsigned)__builtin_ctzll(set));
  return p;
}

uint8_t *pw_put_capability_names(uint8_t *p, const struct pw_task *task)
{
  const int has_more = task->cap_permitted != task->cap_effective;
  p = pw_put_map_head(PUT(p, "capabilities"), has_more ? 2 : 1);
  p = put_set(PUT(p, "effective"), task->cap_effective);
  return has_more ? put_set(PUT(p, "permitted"), task->cap_permitted) : p;
}
