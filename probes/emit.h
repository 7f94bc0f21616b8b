/* The only writer to the ring. What does not fit is counted in the map `lost`, by kind: no record is lost
 * silently. */
#ifndef PODWITNESS_EMIT_H
#define PODWITNESS_EMIT_H
#include "dialect.h"
#include "events.h"

#define RING_AVAILABLE_DATA 0
#define RING_FORCE_WAKEUP 2

/* Without a flag the kernel notifies only when the reader stands at this very record, which is once per drain:
 * a reader that waits a little before it drains gets one notification for all that happened meanwhile. Past
 * half of the ring it is told to hurry. Only within a sixteenth past the half: notifying at every record would
 * slow down the workload just when it is busiest; and a sixteenth, not the one record that crosses, since
 * writers on several CPUs can step over any single mark. */
static __always_inline u64 wakeup(void)
{
  u64 used = ring_query(MAP(ring), RING_AVAILABLE_DATA);
  u64 past_half = used - PW_RING_BYTES / 2;
  return past_half < PW_RING_BYTES / 16 ? RING_FORCE_WAKEUP : 0;
}

static __always_inline void count_lost(u32 kind)
{
  u64 *count = map_lookup(MAP(lost), &kind);
  if (count)
    __sync_fetch_and_add(count, 1);
}

static __always_inline void fill_head(struct pw_head *head, u16 kind, u32 record_bytes)
{
  head->kind = kind;
  head->flags = 0;
  head->record_bytes = record_bytes;
  head->time_ns = bpf_ktime_get_boot_ns();
}

/* A zeroed record of a fixed size, its head filled but for cgroup_id. NULL: the ring is full, and that is
 * counted. Otherwise submit() must follow. */
#define RESERVE(type, kind) RESERVE_PART(type, sizeof(struct type), kind)

/* The same, of which only the first bytes are zeroed: what is behind them is shortened by record_bytes, or
 * written. */
#define RESERVE_PART(type, zeroed_bytes, kind) ({ \
  struct type *record_ = ring_reserve(MAP(ring), sizeof(struct type), 0); \
  if (record_) { \
    __builtin_memset(record_, 0, zeroed_bytes); \
    fill_head((struct pw_head *)record_, kind, sizeof(struct type)); \
  } else { \
    count_lost(kind); \
  } \
  record_; \
})

static __always_inline void submit(void *record)
{
  ring_submit(record, wakeup());
}

/* Copies a record of variable size, whose head is complete, to the ring. */
static __always_inline void output(void *record, u32 kind, u64 bytes)
{
  if (ring_output(MAP(ring), record, bytes, wakeup()))
    count_lost(kind);
}

#endif
