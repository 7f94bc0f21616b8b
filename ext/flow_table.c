#include "flow_table.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "flow_track.h"
#include "memory.h"

/* A packet that comes after the idle time begins a new flow in the kernel; by then no end is to be told here. */
#define GRACE_NS UINT64_C(1000000000)

/* What is mapped at a time. The kernel counts each page of a map as memory of who has it mapped, from then on, so
 * all of it would be 3 MiB for something that is looked at once a second. Whole pages, also those of 64 KiB. */
#define WINDOW_SLOTS 1024
#define CLOSED_SOCKETS 64
_Static_assert(WINDOW_SLOTS * sizeof(struct pw_flow_slot) % 65536 == 0, "a window is whole pages");

struct told { /* of the flow that has the place */
  uint64_t first_ns;
  uint64_t packets;
  uint64_t due_ns;
  uint8_t has_ended;
  uint8_t is_closed;
};

struct pw_flow_table {
  const struct pw_flow_slot *window; /* NULL: nothing is mapped */
  struct told *told;
  uint64_t closed[CLOSED_SOCKETS]; /* ids of sockets whose flows are to end */
  uint32_t closed_count;
  uint32_t window_first;
  int fd;
  uint64_t interval_ns;
  uint64_t idle_ns;
  uint32_t count;
  uint32_t next;
};

static size_t window_bytes(const struct pw_flow_table *table)
{
  const uint32_t left = table->count - table->window_first;
  return (left < WINDOW_SLOTS ? left : WINDOW_SLOTS) * sizeof *table->window;
}

static void unmap(struct pw_flow_table *table)
{
  if (table->window != NULL)
    munmap((void *)(uintptr_t)table->window, window_bytes(table));
  table->window = NULL;
}

/* The place, mapped until another one is asked for. NULL: errno tells why. */
static const struct pw_flow_slot *slot_at(struct pw_flow_table *table, uint32_t at)
{
  const uint32_t first = at - at % WINDOW_SLOTS;
  if (table->window == NULL || table->window_first != first) {
    unmap(table);
    table->window_first = first;
    const off_t at_byte = (off_t)first * (off_t)sizeof *table->window;
    void *mapped = mmap(NULL, window_bytes(table), PROT_READ, MAP_SHARED, table->fd, at_byte);
    if (mapped == MAP_FAILED)
      return NULL;
    table->window = mapped;
  }
  return &table->window[at - first];
}

struct pw_flow_table *pw_flow_table_open(int fd, uint32_t slots, uint64_t interval_ns, uint64_t idle_ns)
{
  struct pw_flow_table *table = calloc(1, sizeof *table);
  if (table == NULL)
    return NULL;
  *table = (struct pw_flow_table){.count = slots, .interval_ns = interval_ns, .idle_ns = idle_ns};
  table->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  table->told = pw_memory_table(slots, sizeof *table->told);
  if (table->fd < 0 || table->told == NULL || slot_at(table, 0) == NULL) {
    const int failed = errno;
    pw_flow_table_close(table);
    errno = failed;
    return NULL;
  }
  unmap(table);
  return table;
}

void pw_flow_table_close(struct pw_flow_table *table)
{
  if (table == NULL)
    return;
  unmap(table);
  if (table->fd >= 0)
    close(table->fd);
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
  return __atomic_load_n(&slot->version, __ATOMIC_RELAXED) == version && flow->end_cause == PW_END_NONE;
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
static int report(struct pw_flow_table *table, const struct pw_flow_slot *slot, struct pw_drain *drain,
                  uint64_t now_ns, int is_last)
{
  struct pw_flow flow;
  if (!read_slot(slot, &flow))
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

static int has_closed(const struct pw_flow_table *table, uint64_t socket_id)
{
  for (uint32_t at = 0; at < table->closed_count; at++)
    if (table->closed[at] == socket_id)
      return 1;
  return 0;
}

/* 0: errno tells why the map can't be read. */
static int end_closed(struct pw_flow_table *table)
{
  struct pw_flow flow;
  for (uint32_t at = 0; table->closed_count != 0 && at < table->count; at++) {
    const struct pw_flow_slot *slot = slot_at(table, at);
    if (slot == NULL)
      return 0;
    if (has_closed(table, __atomic_load_n(&slot->flow.socket_id, __ATOMIC_RELAXED)) && read_slot(slot, &flow) &&
        !(flow.head.flags & PW_KERNEL_SOCKET))
      told_of(table, at, &flow)->is_closed = 1;
  }
  table->closed_count = 0;
  return 1;
}

/* 0: errno tells why the map can't be read. */
static int scan(struct pw_flow_table *table, struct pw_drain *drain, uint64_t now_ns, int is_last)
{
  if (!end_closed(table))
    return 0;
  drain->end = PW_DRAIN_FULL;
  for (; table->next < table->count; table->next++) {
    const struct pw_flow_slot *slot = slot_at(table, table->next);
    if (slot == NULL)
      return 0;
    if (!report(table, slot, drain, now_ns, is_last))
      return 1;
  }
  table->next = 0;
  drain->end = PW_DRAIN_EMPTY;
  return 1;
}

int pw_flow_table_scan(struct pw_flow_table *table, struct pw_drain *drain, uint64_t now_ns, int is_last)
{
  int status = pw_drain_begin(drain);
  if (status == PW_OK && !scan(table, drain, now_ns, is_last))
    status = PW_E_SYSCALL;
  unmap(table);
  return status;
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
  if (table == NULL)
    return;
  if (table->closed_count == CLOSED_SOCKETS) {
    if (!end_closed(table))
      table->closed_count = 0; /* their flows end when they have been idle */
    unmap(table);
  }
  table->closed[table->closed_count++] = socket_id;
}
