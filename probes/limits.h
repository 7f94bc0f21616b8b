/* Limits of how much one cgroup may report: what the probes and the collector share in memory that both map.
 * No records: those are in events.h. */
#ifndef PODWITNESS_LIMITS_H
#define PODWITNESS_LIMITS_H

#include "events.h"

/* Each has a bucket of its own in every cgroup: who forks without end can't hide that it becomes root. */
enum pw_limit_class {
  PW_LIMIT_PROCESS = 0,
  PW_LIMIT_NETWORK = 1,
  PW_LIMIT_PRIVILEGE = 2,  /* privileges and files */
  PW_LIMIT_CLASSES = 3,
};

/* What is said of cgroups, and of what was there before the probes, has no limit. Sessions count as privileges:
 * who forks without end can't hide that somebody came in. */
#define PW_IS_LIMITED(kind) ((kind) < PW_CGROUP_MKDIR || (kind) >= PW_SESSION_START)
#define PW_LIMIT_CLASS_OF(kind) \
  (PW_IS_FLOW(kind) ? PW_LIMIT_NETWORK : (kind) <= PW_EXIT ? PW_LIMIT_PROCESS : PW_LIMIT_PRIVILEGE)

/* A record takes a token for each that it has begun: an exec can be thirty times as long as a fork, and by its
 * arguments the container says how long. */
#define PW_TOKEN_BYTES 1024

#define PW_LIMIT_SLOTS 2048 /* a power of two */

struct pw_limit {
  __u64 interval_ns;       /* between two events at the rate that can go on for ever; 0: no limit */
  __u64 burst_ns;          /* events at once, less one, times the interval */
};

/* The only value of the map `rates`. The count is written by the probes, all else by the collector. */
struct pw_rates {
  struct pw_limit limits[PW_LIMIT_CLASSES];
  __u64 suppressed;        /* in all slots: tells whether to look at them */
  __u64 looked_at_ns;      /* CLOCK_BOOTTIME: a little later the rings are looked at without a notification */
};

struct pw_bucket {
  __u64 next_ns;           /* up to now there are tokens, one for each interval; not more than the burst */
};

/* A value of the map `limits`. The last one is shared by all cgroups that found no other; it has cgroup_id 0. */
struct pw_limit_slot {
  __u64 cgroup_id;         /* 0: free */
  __u64 used_ns;           /* about when it was used last, CLOCK_BOOTTIME */
  struct pw_bucket buckets[PW_LIMIT_CLASSES];
  __u32 suppressed[PW_KINDS]; /* never goes back; wraps */
};

PW_SIZE(pw_limit, 16);
PW_SIZE(pw_rates, 64);
PW_SIZE(pw_bucket, 8);
PW_SIZE(pw_limit_slot, 40 + 4 * PW_KINDS);

#endif
