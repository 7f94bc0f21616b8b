/* The only writer to the rings. What does not fit is counted in the map `lost`, by kind: no record is lost
 * silently. What a cgroup may not report is counted too, in `limits`. Kinds are constants wherever possible: then
 * the compiler chooses the ring. */
#ifndef PODWITNESS_EMIT_H
#define PODWITNESS_EMIT_H
#include "admit.h"
#include "dialect.h"
#include "events.h"

#define RING_AVAILABLE_DATA 0
#define RING_NO_WAKEUP 1
#define RING_FORCE_WAKEUP 2

/* While much happens the reader looks at the rings by the clock: then nobody has to wake it, which is an interrupt
 * to the own CPU each time. */
static __always_inline bool is_looked_at(u64 now_ns)
{
  u32 zero = 0;
  struct pw_rates *rates = map_lookup(MAP(rates), &zero);
  return rates && now_ns < *(volatile u64 *)&rates->looked_at_ns;
}

/* Without a flag the kernel notifies only when the reader stands at this very record, which is once per drain:
 * a reader that waits a little before it drains gets one notification for all that happened meanwhile. Past
 * half of the ring it is told to hurry. Only within a sixteenth past the half: notifying at every record would
 * slow down the workload just when it is busiest; and a sixteenth, not the one record that crosses, since
 * writers on several CPUs can step over any single mark. */
static __always_inline u64 wakeup_of(void *ring, u64 ring_bytes, u64 now_ns)
{
  u64 used = ring_query(ring, RING_AVAILABLE_DATA);
  u64 past_half = used - ring_bytes / 2;
  if (past_half < ring_bytes / 16)
    return RING_FORCE_WAKEUP;
  return is_looked_at(now_ns) ? RING_NO_WAKEUP : 0;
}

static __always_inline u64 wakeup(u32 kind, const struct pw_head *head)
{
  if (PW_IS_FLOW(kind))
    return wakeup_of(MAP(flow_ring), PW_ENTRIES_flow_ring, head->time_ns);
  return wakeup_of(MAP(ring), PW_ENTRIES_ring, head->time_ns);
}

static __always_inline void count_lost(u32 kind)
{
  u64 *count = map_lookup(MAP(lost), &kind);
  if (count)
    __sync_fetch_and_add(count, 1);
}

/* Kinds that nobody asked for: no record is made of them. Of a constant kind the compiler leaves out what would
 * make it. */
#ifdef PW_OFF_0
#define IS_OFF(kind) (((kind) < 64 ? PW_OFF_0 : PW_OFF_1) >> ((kind) & 63) & 1)
#else
#define IS_OFF(kind) 0
#endif

static __always_inline void fill_head(struct pw_head *head, u16 kind, u32 record_bytes, u64 cgroup_id, u64 now_ns)
{
  head->kind = kind;
  head->flags = 0;
  head->record_bytes = record_bytes;
  head->time_ns = now_ns;
  head->cgroup_id = cgroup_id;
}

static __always_inline void *reserve(u32 kind, u64 bytes)
{
  void *record = PW_IS_FLOW(kind) ? ring_reserve(MAP(flow_ring), bytes, 0) : ring_reserve(MAP(ring), bytes, 0);
  if (!record)
    count_lost(kind);
  return record;
}

/* A zeroed record of a fixed size, its head filled. NULL: the kind is off; or the ring is full, or the cgroup has
 * reported too much, which are counted. Otherwise submit() must follow. */
#define RESERVE(type, kind, cgroup_id) RESERVE_PART(type, sizeof(struct type), kind, cgroup_id)

/* The same, of which only the first bytes are zeroed: what is behind them is written, or left out by
 * record_bytes. */
#define RESERVE_PART(type, zeroed_bytes, kind, cgroup_id) \
  RESERVE_AT(type, zeroed_bytes, kind, cgroup_id, bpf_ktime_get_boot_ns())

/* The same, of a time that was asked for already. */
#define RESERVE_AT(type, zeroed_bytes, kind, cgroup_id, now_ns) ({ \
  u64 cgroup_ = cgroup_id, now_ = now_ns; \
  struct type *record_ = \
    !IS_OFF(kind) && is_admitted(kind, cgroup_, now_) ? reserve(kind, sizeof(struct type)) : 0; \
  if (record_) { \
    __builtin_memset(record_, 0, zeroed_bytes); \
    fill_head((struct pw_head *)record_, kind, sizeof(struct type), cgroup_, now_); \
  } \
  record_; \
})

static __always_inline void submit(void *record, u32 kind)
{
  ring_submit(record, wakeup(kind, record));
}

/* Begins a record of variable size in memory of the caller's: fills its head but for record_bytes. False: the kind
 * is off, or the cgroup has reported too much, which is counted; there is nothing more to be done. Otherwise
 * output() must follow. */
static __always_inline bool begin(struct pw_head *head, u32 kind, u64 cgroup_id)
{
  u64 now_ns;
  if (IS_OFF(kind))
    return false;
  now_ns = bpf_ktime_get_boot_ns();
  if (!is_admitted(kind, cgroup_id, now_ns))
    return false;
  fill_head(head, kind, 0, cgroup_id, now_ns);
  return true;
}

/* Copies a record of variable size, whose head is complete, to its ring. */
static __always_inline void output(void *record, u32 kind, u64 bytes)
{
  long refused = PW_IS_FLOW(kind) ? ring_output(MAP(flow_ring), record, bytes, wakeup(kind, record))
                                  : ring_output(MAP(ring), record, bytes, wakeup(kind, record));
  if (refused)
    count_lost(kind);
  charge(kind, record, bytes);
}

#endif
