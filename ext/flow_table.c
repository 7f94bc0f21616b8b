#include "flow_table.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "flow_track.h"

/* A packet that comes after the idle time begins a new flow in the kernel; by then no end is to be told here. */
#define GRACE_NS UINT64_C(1000000000)

struct told { /* of the flow that has the place */
  uint64_t first_ns;
  uint64_t packets;
  uint64_t due_ns;
  uint8_t has_ended;
  uint8_t is_closed;
};

struct pw_flow_table {
  const struct pw_flow_slot *slots;
  struct told *told;
  uint64_t interval_ns;
  uint64_t idle_ns;
  uint32_t count;
  uint32_t next;
};

struct pw_flow_table *pw_flow_table_open(int fd, uint32_t slots, uint64_t interval_ns, uint64_t idle_ns)
{
  struct pw_flow_table *table = calloc(1, sizeof *table);
  if (table == NULL)
    return NULL;
  table->told = calloc(slots, sizeof *table->told);
  void *mapped = table->told != NULL ? mmap(NULL, slots * sizeof *table->slots, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
  if (mapped == MAP_FAILED) {
    free(table->told);
    free(table);
    return NULL;
  }
  table->slots = mapped;
  table->count = slots;
  table->interval_ns = interval_ns;
  table->idle_ns = idle_ns;
  return table;
}

void pw_flow_table_close(struct pw_flow_table *table)
{
  if (table == NULL)
    return;
  munmap((void *)(uintptr_t)table->slots, table->count * sizeof *table->slots);
  free(table->told);
  free(table);
}

/* The kernel makes the version odd while it puts another flow in. 0: nothing to be read there now. */
static int read_slot(const struct pw_flow_slot *slot, struct pw_flow *flow)
{
  const uint32_t version = __atomic_load_n(&slot->version, __ATOMIC_ACQUIRE);
  if (version % 2 != 0 || __atomic_load_n(&slot->flow.first_ns, __ATOMIC_RELAXED) == 0)
    return 0;
  memcpy(flow, &slot->flow, sizeof *flow);
  __atomic_thread_fence(__ATOMIC_ACQUIRE);
  return __atomic_load_n(&slot->version, __ATOMIC_RELAXED) == version && !flow->is_over;
}

static struct told *told_of(struct pw_flow_table *table, uint32_t at, const struct pw_flow *flow)
{
  struct told *told = &table->told[at];
  if (told->first_ns != flow->first_ns)
    *told = (struct told){.first_ns = flow->first_ns, .packets = 1, .due_ns = flow->first_ns + table->interval_ns};
  return told;
}

/* The kind of record that is due, 0 for none; its cause of end is put into the flow. */
static uint16_t due_kind(const struct pw_flow_table *table, const struct told *told, struct pw_flow *flow,
                         uint64_t now_ns, int is_last)
{
  const uint64_t packets = flow->packets_sent + flow->packets_received;
  if (told->has_ended)
    return 0;
  if (told->is_closed) {
    flow->end_cause = PW_END_CLOSED;
    return PW_FLOW_END;
  }
  if (now_ns > flow->last_ns + table->idle_ns + GRACE_NS) {
    flow->end_cause = PW_END_IDLE;
    return PW_FLOW_END;
  }
  return packets != told->packets && (is_last || now_ns >= told->due_ns) ? PW_FLOW_UPDATE : 0;
}

/* 0: no room. */
static int report(struct pw_flow_table *table, struct pw_drain *drain, uint64_t now_ns, int is_last)
{
  struct pw_flow flow;
  if (!read_slot(&table->slots[table->next], &flow))
    return 1;
  struct told *told = told_of(table, table->next, &flow);
  const uint16_t kind = due_kind(table, told, &flow, now_ns, is_last);
  if (kind == 0)
    return 1;
  flow.head.kind = kind;
  flow.head.record_bytes = sizeof flow;
  flow.head.time_ns = now_ns;
  if (!pw_drain_record(drain, &flow.head))
    return 0;
  told->packets = flow.packets_sent + flow.packets_received;
  told->due_ns = now_ns + table->interval_ns;
  told->has_ended = kind == PW_FLOW_END;
  return 1;
}

int pw_flow_table_scan(struct pw_flow_table *table, struct pw_drain *drain, uint64_t now_ns, int is_last)
{
  const int status = pw_drain_begin(drain);
  if (status != PW_OK)
    return status;
  drain->end = PW_DRAIN_FULL;
  for (; table->next < table->count; table->next++)
    if (!report(table, drain, now_ns, is_last))
      return PW_OK;
  table->next = 0;
  drain->end = PW_DRAIN_EMPTY;
  return PW_OK;
}

int pw_flow_track_end(struct pw_flow_table *table, const struct pw_flow *flow)
{
  if (table == NULL || flow->end_cause == PW_END_CONTENDED || flow->slot >= table->count)
    return 1;
  struct told *told = told_of(table, flow->slot, flow);
  if (told->has_ended)
    return 0;
  told->has_ended = 1;
  return 1;
}

void pw_flow_track_closed(struct pw_flow_table *table, uint64_t socket_id)
{
  struct pw_flow flow;
  for (uint32_t at = 0; table != NULL && at < table->count; at++)
    if (__atomic_load_n(&table->slots[at].flow.socket_id, __ATOMIC_RELAXED) == socket_id &&
        read_slot(&table->slots[at], &flow) && !(flow.head.flags & PW_KERNEL_SOCKET))
      told_of(table, at, &flow)->is_closed = 1;
}
