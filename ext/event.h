/* Kernel events: ring buffer -> msgpack entries `[EventTime, record]` in ECS fields.
 * What the fields are is written in collector/records.py. */
#ifndef PODWITNESS_EVENT_H
#define PODWITNESS_EVENT_H

#include <linux/types.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "probes/events.h"
#include "probes/limits.h"

/* 1 for kinds that are in the ring of flows. */
int pw_kind_is_flow(uint16_t kind);

/* ---- a ring --------------------------------------------------------------- */

/* A BPF_MAP_TYPE_RINGBUF as the kernel lays it out: the ring is there twice, one
 * behind the other, so no record wraps. With an `fd` below 0 the members point at
 * memory of the caller's that is laid out the same way. */
struct pw_ring {
  uint64_t *consumer;        /* position we have read up to; ours to write */
  const uint64_t *producer;  /* position the kernel has written up to */
  const uint8_t *data;       /* what is mapped now: `window_bytes` from `window_from` on; the caller's: all */
  uint64_t bytes;            /* a power of two */
  int fd;
  uint64_t window_from, window_bytes;
};

/* Maps the ring behind a descriptor. `bytes` is the map's max_entries.
 * PW_E_SYSCALL (errno) when it can't be mapped or `bytes` is no power of two. */
int pw_ring_map(struct pw_ring *ring, int fd, uint64_t bytes);

/* Ends what pw_ring_map made. Not for memory of the caller's. */
void pw_ring_unmap(struct pw_ring *ring);

/* Bytes not yet drained, record headers included. */
uint64_t pw_ring_fill_bytes(const struct pw_ring *ring);

/* ---- containers: cgroup id -> constant pairs ------------------------------- */

enum pw_scope { /* podwitness.scope: who the process belongs to */
  PW_SCOPE_UNRESOLVED = 0,
  PW_SCOPE_HOST = 1,
  PW_SCOPE_POD = 2,
  PW_SCOPE_CONTAINER = 3,
};

#define PW_FRAGMENT_BYTES 65536 /* most bytes of constant pairs of one container */

struct pw_fragment { /* ready-made msgpack key value key value ..., behind the record's own pairs */
  const uint8_t *pairs;
  uint32_t pairs_bytes; /* <= PW_FRAGMENT_BYTES */
  uint32_t pair_count;
  uint32_t scope;
  uint64_t container; /* the same for all cgroups of one container; 0: of none, or it is not known */
};

struct pw_containers;

/* A table for up to `max_entries` cgroups whose pairs take `max_bytes` together. NULL: out of memory. */
struct pw_containers *pw_containers_new(uint32_t max_entries, uint64_t max_bytes);
void pw_containers_free(struct pw_containers *table);

/* Copies the fragment; replaces the cgroup's former one.
 * PW_E_TABLE_FULL (entries or bytes; the table is as before), PW_E_MEMORY. */
int pw_containers_set(struct pw_containers *table, uint64_t cgroup_id, const struct pw_fragment *fragment);

/* 1 if the cgroup was there. */
int pw_containers_remove(struct pw_containers *table, uint64_t cgroup_id);

/* NULL if the cgroup is not there; valid until the table is changed. */
const struct pw_fragment *pw_containers_find(const struct pw_containers *table, uint64_t cgroup_id);

uint32_t pw_containers_count(const struct pw_containers *table);
uint64_t pw_containers_bytes(const struct pw_containers *table);

/* ---- encoding -------------------------------------------------------------- */

/* An output must have at least this many bytes of room when a call starts, so
 * that the longest record with the longest fragment fits. */
#define PW_EVENT_OUTPUT_BYTES 262144

/* Pairs of a target that are longer are left out. */
#define PW_TARGET_BYTES 1024

struct pw_event_output { /* the caller's buffer; entries are appended */
  uint8_t *bytes;
  uint64_t room;
  uint64_t used;
  uint32_t records;
};

struct pw_event_clock { /* and what else the collector knows that the kernel does not */
  int64_t wall_offset_ns; /* CLOCK_REALTIME minus CLOCK_BOOTTIME */
  uint64_t node_id;       /* of process.entity_id */
  const char *variables;  /* names of environment variables that may be told, each NUL ended; no others ever are */
  uint32_t variables_bytes;
  const struct pw_resolutions *names; /* of other ends; NULL: none are known */
  const struct pw_translations *translations; /* the same of addresses */
  const struct pw_containers *targets; /* whose a target is: pairs by its cgroup; NULL: nobody knows */
  struct pw_programs *programs; /* what processes run; NULL: it is not told. A drain notes there what it takes */
};

enum pw_drain_end { /* why a drain returned */
  PW_DRAIN_EMPTY = 0,   /* nothing committed is left */
  PW_DRAIN_BOUND = 1,   /* max_records */
  PW_DRAIN_FULL = 2,    /* an output, or `unknown`, has no room for the next record */
  PW_DRAIN_CONTROL = 3, /* a PW_CGROUP_* record is in `control` */
  PW_DRAIN_LATER = 4,   /* the next record is later than until_ns; the kernel does not notify of those behind it */
};

#define PW_CONTROL_BYTES 1024

/* A thing that the collector does so that its own probes have to report it: a
 * child that ends, a socket that listens. Its records are taken out of the
 * stream. That they are its own is certain: the child's pid is not given to
 * another before the collector reaped it, nor the port while it listened. */
struct pw_heartbeat {
  uint32_t pid;     /* of the child, in the collector's pid namespace; 0: none */
  uint32_t pid_ns;  /* inode of that namespace */
  uint32_t net_ns;
  uint16_t port;    /* on 127.0.0.1; 0: none */
  uint16_t pad;
  uint64_t bound_from_ns; /* the socket was bound after this, CLOCK_BOOTTIME, */
  uint64_t from_ns;       /* and had the port: it listened after this and before the next */
  uint64_t until_ns;
};

/* Processes that were told of as they were forked, though they are older than a time: the probes came between. */
#define PW_NEWBORNS 256

struct pw_newborn {
  uint64_t start_ns;
  uint32_t pid;
  uint32_t pad;
};

struct pw_drain {
  /* set by the caller */
  uint32_t max_records;
  uint64_t until_ns; /* a record that is later stays in the ring, with what is behind it; 0: none does */
  struct pw_event_clock clock;
  const struct pw_containers *process_containers; /* pairs of PW_EXEC, PW_FORK, PW_EXIT */
  const struct pw_containers *network_containers; /* pairs of PW_TCP_* */
  struct pw_event_output process;
  struct pw_event_output network;
  struct pw_event_output unknown; /* records as the kernel made them, each padded to 8 bytes, whose cgroup
                                     is not in their table; the same minimum of room */
  struct pw_resolutions *resolutions; /* told of DNS; NULL: nobody is */
  struct pw_flow_table *flows; /* told of what ends; NULL: there is none */
  struct pw_heartbeat heartbeat;
  uint8_t untold[PW_KINDS]; /* 1: records of this kind only teach what others tell: no entry is made of them */
  uint64_t born_before_ns; /* forks of processes that are older go to newborns too; 0: none do */
  uint32_t newborn_count;  /* the drain only adds, up to PW_NEWBORNS */
  struct pw_newborn newborns[PW_NEWBORNS];
  uint64_t heard[PW_KINDS]; /* records of the heartbeat, by kind; the drain only adds */
  uint64_t own_cgroup_id;   /* that the last of them named: the collector's; 0: none has come yet */
  /* set by the drain */
  uint32_t end; /* enum pw_drain_end */
  uint32_t control_bytes;
  uint64_t drained_bytes;
  uint64_t events[PW_KINDS]; /* records taken, by kind; those of the heartbeat, and untold ones, are not among them */
  uint64_t exempt[PW_KINDS]; /* of these, uses of watched files that are not told: see programs.h */
  uint64_t malformed;        /* records that are not what their kind says: dropped */
  uint64_t corrupt_bytes;    /* skipped because a length in the ring made no sense */
  uint8_t control[PW_CONTROL_BYTES];
};

/* Takes records out of the ring until one of the reasons in enum pw_drain_end.
 * Outputs are appended to, results are set anew. Returns PW_OK; PW_E_OUTPUT_FULL
 * when an output is smaller than PW_EVENT_OUTPUT_BYTES; PW_E_SYSCALL (errno) when
 * the next record can't be mapped, and none was taken. */
int pw_ring_drain(struct pw_ring *ring, struct pw_drain *drain);

/* Encodes `records` (one after the other, each record_bytes long and padded to
 * 8 bytes; the start 8-byte aligned) with one fragment. Ends at the first that
 * does not fit; `*consumed` tells how many bytes were encoded or, malformed,
 * left out. Returns PW_OK, PW_E_OUTPUT_FULL (as above), or PW_E_RECORD_SIZE
 * when a length reaches past the end (the rest can't be read). */
int pw_events_encode(const uint8_t *records, uint64_t records_bytes, const struct pw_fragment *fragment,
                     const struct pw_event_clock *clock, struct pw_event_output *process,
                     struct pw_event_output *network, uint64_t *consumed, uint64_t *malformed);

#endif
