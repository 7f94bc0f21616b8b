/* May this cgroup report one more? A bucket of tokens for each class of events, so that a container that forks
 * or connects without end fills no ring that others need. What is refused is counted, by cgroup and kind. */
#ifndef PODWITNESS_ADMIT_H
#define PODWITNESS_ADMIT_H
#include "dialect.h"
#include "limits.h"

#define SLOTS_TRIED 4
#define SLOT_IDLE_NS 60000000000ll /* then another cgroup may have it; longer than the collector takes to look */
#define SLOT_USED_STEP_NS 1000000000ll

_Static_assert(PW_VALUE_BYTES_rates == sizeof(struct pw_rates), "value of rates");
_Static_assert(PW_VALUE_BYTES_limits == sizeof(struct pw_limit_slot), "value of limits");
_Static_assert(PW_ENTRIES_limits == PW_LIMIT_SLOTS + 1, "entries of limits");

/* The cgroup's slot, the shared one if it has none. NULL: it has just got one, and its buckets are full.
 *
 * No lock: two cgroups may claim a slot at once. Who claims reports without asking, so the loser has lost
 * nothing, and claims another with its next event. Nor has one whose idle slot is taken while it wakes up: after
 * a minute there is a token in any bucket. Another CPU may be ahead in time, so ages are signed. */
static __always_inline struct pw_limit_slot *limit_slot(u64 cgroup_id, u64 now_ns)
{
  u32 first = cgroup_id * 0x9e3779b97f4a7c15ull >> 32, shared = PW_LIMIT_SLOTS;
  struct pw_limit_slot *vacant = 0;
  for (int tried = 0; tried < SLOTS_TRIED; tried++) {
    u32 at = (first + tried) & (PW_LIMIT_SLOTS - 1);
    struct pw_limit_slot *slot = map_lookup(MAP(limits), &at);
    if (!slot)
      return 0;
    if (slot->cgroup_id == cgroup_id)
      return slot;
    if (!vacant && (!slot->cgroup_id || (s64)(now_ns - slot->used_ns) > SLOT_IDLE_NS))
      vacant = slot;
  }
  if (!vacant)
    return map_lookup(MAP(limits), &shared);
  vacant->cgroup_id = cgroup_id;
  vacant->used_ns = now_ns;
  for (int class = 0; class < PW_LIMIT_CLASSES; class++)
    vacant->buckets[class].next_ns = 0;
  return 0;
}

/* One token, if there is one. Between several CPUs a few may be taken twice while the bucket is full. */
static __always_inline bool take_token(struct pw_bucket *bucket, struct pw_limit *limit, u64 now_ns)
{
  u64 next = bucket->next_ns, earliest = now_ns - limit->burst_ns;
  if ((s64)(next - earliest) < 0)
    bucket->next_ns = earliest + limit->interval_ns;
  else if (next > now_ns)
    return false;
  else
    __sync_fetch_and_add(&bucket->next_ns, limit->interval_ns);
  return true;
}

static __always_inline bool is_admitted(u32 kind, u64 cgroup_id, u64 now_ns)
{
  u32 zero = 0, class = PW_LIMIT_CLASS_OF(kind);
  u64 counted = kind;
  struct pw_limit_slot *slot;
  struct pw_rates *rates;
  if (!PW_IS_LIMITED(kind))
    return true;
  rates = map_lookup(MAP(rates), &zero);
  if (!rates || !rates->limits[class].interval_ns)
    return true;
  slot = limit_slot(cgroup_id, now_ns);
  if (!slot)
    return true;
  if ((s64)(now_ns - slot->used_ns) > SLOT_USED_STEP_NS)
    slot->used_ns = now_ns;
  if (take_token(&slot->buckets[class], &rates->limits[class], now_ns))
    return true;
  OPAQUE(counted);
  if (counted < PW_KINDS)
    __sync_fetch_and_add(&slot->suppressed[counted], 1);
  __sync_fetch_and_add(&rates->suppressed, 1);
  return false;
}

/* The other tokens of a long record, which are known when it is written: the next one waits for them. */
static __always_inline void charge(u32 kind, const struct pw_head *head, u64 bytes)
{
  u32 zero = 0, class = PW_LIMIT_CLASS_OF(kind);
  u64 more = bytes / PW_TOKEN_BYTES;
  struct pw_limit_slot *slot;
  struct pw_rates *rates;
  if (!more || !PW_IS_LIMITED(kind))
    return;
  rates = map_lookup(MAP(rates), &zero);
  if (!rates || !rates->limits[class].interval_ns)
    return;
  slot = limit_slot(head->cgroup_id, head->time_ns);
  if (slot)
    __sync_fetch_and_add(&slot->buckets[class].next_ns, more * rates->limits[class].interval_ns);
}

#endif
