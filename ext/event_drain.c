/* Out of the ring, into the outputs. */
#include "event_encode.h"
#include "event_ends.h"
#include "flow_track.h"
#include "program.h"
#include "resolve.h"
#include "ringbuf.h"

/* Space is given back to the kernel so often: seldom enough to leave the shared
 * cache line alone, often enough that a burst finds room while we work. */
enum { RELEASE_EVERY = 64 };

static int has_room(const struct pw_event_output *output, uint64_t bytes)
{
  return output->room - output->used >= bytes;
}

static int is_too_small(const struct pw_event_output *output)
{
  return output->used > output->room || !has_room(output, PW_EVENT_OUTPUT_BYTES);
}

/* 0 if the entry has no room. */
static int append_entry(struct pw_event_output *output, const struct pw_head *head, const struct pw_fragment *fragment,
                        const struct pw_event_clock *clock)
{
  if (!has_room(output, (uint64_t)pw_event_room(head) + fragment->pairs_bytes))
    return 0;
  uint8_t *const start = output->bytes + output->used;
  output->used += (uint64_t)(pw_put_event(start, head, fragment, clock) - start);
  output->records++;
  return 1;
}

static uint64_t padded(uint64_t bytes)
{
  return (bytes + 7) & ~UINT64_C(7);
}

static int append_raw(struct pw_event_output *output, const struct pw_head *head)
{
  const uint64_t bytes = padded(head->record_bytes);
  if (!has_room(output, bytes))
    return 0;
  uint8_t *const start = output->bytes + output->used;
  memcpy(start, head, head->record_bytes);
  memset(start + head->record_bytes, 0, bytes - head->record_bytes);
  output->used += bytes;
  output->records++;
  return 1;
}

enum taken { TAKEN, TAKEN_CONTROL, NO_ROOM };

static enum taken take_control(struct pw_drain *drain, const struct pw_head *head)
{
  const uint32_t bytes = head->record_bytes < PW_CONTROL_BYTES ? head->record_bytes : PW_CONTROL_BYTES;
  memcpy(drain->control, head, bytes);
  drain->control_bytes = bytes;
  return TAKEN_CONTROL;
}

static int is_of_child(const struct pw_heartbeat *heartbeat, const struct pw_task *task)
{
  return task->namespace_pid == heartbeat->pid && task->pid_ns == heartbeat->pid_ns && heartbeat->pid != 0;
}

static int is_at_port(const struct pw_heartbeat *heartbeat, uint16_t port, uint32_t net_ns, const uint8_t *address)
{
  static const uint8_t loopback[4] = {127, 0, 0, 1};
  return port == heartbeat->port && heartbeat->port != 0 && net_ns == heartbeat->net_ns &&
         memcmp(address, loopback, sizeof loopback) == 0;
}

static int is_of_listener(const struct pw_heartbeat *heartbeat, const struct pw_tcp *tcp)
{
  return is_at_port(heartbeat, tcp->local_port, tcp->net_ns, tcp->local_address) &&
         tcp->head.time_ns >= heartbeat->from_ns && tcp->head.time_ns <= heartbeat->until_ns;
}

/* The port is known, and nobody else's, only once it is bound. Within that call another could only have had it by
 * closing it in the same microseconds. */
static int is_bound_by_listener(const struct pw_heartbeat *heartbeat, const struct pw_bind *bound)
{
  return is_at_port(heartbeat, bound->local_port, bound->net_ns, bound->local_address) &&
         bound->protocol == PW_PROTOCOL_TCP && bound->head.time_ns >= heartbeat->bound_from_ns &&
         bound->head.time_ns <= heartbeat->until_ns;
}

static int is_heartbeat(const struct pw_heartbeat *heartbeat, const struct pw_head *head)
{
  switch (head->kind) {
    case PW_EXEC:
      return is_of_child(heartbeat, &((const struct pw_exec *)head)->task);
    case PW_FORK:
      return is_of_child(heartbeat, &((const struct pw_fork *)head)->task);
    case PW_EXIT:
      return is_of_child(heartbeat, &((const struct pw_exit *)head)->task);
    case PW_TCP_LISTEN:
    case PW_TCP_UNLISTEN:
      return is_of_listener(heartbeat, (const struct pw_tcp *)head);
    case PW_BIND:
      return is_bound_by_listener(heartbeat, (const struct pw_bind *)head);
    default:
      return 0;
  }
}

static int is_exempt(const struct pw_drain *drain, const struct pw_head *head, uint32_t scope)
{
  return scope == PW_SCOPE_HOST && pw_is_privilege(head->kind) && drain->clock.programs != NULL &&
         pw_programs_is_exempt(drain->clock.programs, (const struct pw_privilege *)head);
}

static enum taken take_event(struct pw_drain *drain, const struct pw_head *head)
{
  if (drain->untold[head->kind])
    return TAKEN;
  const int is_process = pw_is_process_event(head->kind);
  struct pw_event_output *output = is_process ? &drain->process : &drain->network;
  const struct pw_containers *table = is_process ? drain->process_containers : drain->network_containers;
  const struct pw_fragment *fragment = pw_containers_find(table, head->cgroup_id);
  if (fragment == NULL)
    return append_raw(&drain->unknown, head) ? TAKEN : NO_ROOM;
  if (!pw_event_is_shipped(head, fragment->scope, &drain->clock))
    return TAKEN;
  if (is_exempt(drain, head, fragment->scope)) {
    drain->exempt[head->kind]++;
    return TAKEN;
  }
  return append_entry(output, head, fragment, &drain->clock) ? TAKEN : NO_ROOM;
}

static void count_event(struct pw_drain *drain, uint16_t kind)
{
  if (!drain->untold[kind])
    drain->events[kind]++;
}

/* Before it is told, a child runs what its maker does; all else counts for what comes after it. */
static void note_program(struct pw_drain *drain, const struct pw_head *head, int is_told)
{
  if (drain->clock.programs != NULL && is_told == (head->kind != PW_FORK))
    pw_programs_note(drain->clock.programs, head);
}

static void note_newborn(struct pw_drain *drain, const struct pw_task *task)
{
  if (task->start_ns >= drain->born_before_ns || drain->newborn_count >= PW_NEWBORNS || drain->untold[PW_FORK])
    return;
  drain->newborns[drain->newborn_count++] = (struct pw_newborn){task->start_ns, task->pid, 0};
}

/* What is for the table of flows alone: 1. */
static int is_for_flows(const struct pw_drain *drain, const struct pw_head *head)
{
  const struct pw_flow *flow = (const struct pw_flow *)head;
  if (head->kind == PW_FLOW_CLOSED)
    pw_flow_track_closed(drain->flows, flow->socket_id);
  return head->kind == PW_FLOW_CLOSED || (head->kind == PW_FLOW_END && !pw_flow_track_end(drain->flows, flow));
}

/* A record of DNS with its payload, where it can be changed. */
struct dns_copy {
  struct pw_dns dns;
  uint8_t payload[PW_DNS_BYTES];
};

static void take_message(void *argument, const struct pw_dns *dns, const uint8_t *payload)
{
  struct pw_drain *drain = argument;
  struct dns_copy copy;
  copy.dns = *dns;
  memcpy(copy.payload, payload, dns->payload_bytes);
  copy.dns.took_ns = pw_resolve_note(drain->resolutions, dns, payload);
  if (take_event(drain, &copy.dns.head) == NO_ROOM)
    drain->malformed++; /* many messages in one segment */
  else
    count_event(drain, PW_DNS);
}

static enum taken take_dns(struct pw_drain *drain, const struct pw_dns *dns)
{
  if (is_too_small(&drain->network) || is_too_small(&drain->unknown))
    return NO_ROOM;
  if (dns->protocol == PW_PROTOCOL_TCP)
    pw_resolve_segment(drain->resolutions, dns, dns->payload, take_message, drain);
  else
    take_message(drain, dns, dns->payload);
  return TAKEN;
}

static enum taken take(struct pw_drain *drain, const struct pw_slot *slot)
{
  const struct pw_head *head = (const struct pw_head *)(const void *)slot->record;
  if (pw_event_check(head, slot->bytes) != PW_OK) {
    drain->malformed++;
    return TAKEN;
  }
  /* Said once: an end that found no room afterwards would look as if it came again. */
  if (head->kind == PW_FLOW_END && (is_too_small(&drain->network) || is_too_small(&drain->unknown)))
    return NO_ROOM;
  if (is_for_flows(drain, head))
    return TAKEN;
  if (head->kind == PW_DNS)
    return take_dns(drain, (const struct pw_dns *)head);
  if (is_heartbeat(&drain->heartbeat, head)) {
    drain->heard[head->kind]++;
    drain->own_cgroup_id = head->cgroup_id;
    return TAKEN;
  }
  note_program(drain, head, 0);
  const enum taken taken = pw_is_control(head->kind) ? take_control(drain, head) : take_event(drain, head);
  if (taken == NO_ROOM)
    return taken;
  note_program(drain, head, 1);
  if (head->kind == PW_FORK)
    note_newborn(drain, &((const struct pw_fork *)head)->task);
  count_event(drain, head->kind);
  return taken;
}

/* A clock that is ahead by more is not the one that `until_ns` was read from. */
enum { LATEST_NS = 1000000000 };

static int is_too_late(const struct pw_drain *drain, const struct pw_slot *slot)
{
  if (drain->until_ns == 0 || slot->bytes < sizeof(struct pw_head))
    return 0;
  const uint64_t time_ns = ((const struct pw_head *)(const void *)slot->record)->time_ns;
  return time_ns > drain->until_ns && time_ns - drain->until_ns < LATEST_NS;
}

/* Takes what stands at *position, moves it, and says in drain->end when to stop: then 0 is returned. */
static int step(struct pw_drain *drain, struct pw_ring *ring, uint64_t *position, uint64_t producer)
{
  struct pw_slot slot;
  enum taken taken = TAKEN;
  const enum pw_slot_state state = pw_ring_look(ring, *position, producer, &slot);
  if (state == PW_SLOT_RECORD && is_too_late(drain, &slot)) {
    drain->end = PW_DRAIN_LATER;
    return 0;
  }
  switch (state) {
    case PW_SLOT_UNMAPPED: /* what was taken goes out first: the next drain begins with it */
      return 0;
    case PW_SLOT_EMPTY:
      drain->end = PW_DRAIN_EMPTY;
      return 0;
    case PW_SLOT_CORRUPT:
      drain->corrupt_bytes += slot.next - *position;
      break;
    case PW_SLOT_DISCARDED:
      break;
    case PW_SLOT_RECORD:
      taken = take(drain, &slot);
  }
  if (taken == NO_ROOM) {
    drain->end = PW_DRAIN_FULL;
    return 0;
  }
  *position = slot.next;
  if (taken == TAKEN_CONTROL)
    drain->end = PW_DRAIN_CONTROL;
  return taken != TAKEN_CONTROL;
}

static void begin(struct pw_drain *drain)
{
  drain->end = PW_DRAIN_BOUND;
  drain->control_bytes = 0;
  drain->drained_bytes = 0;
  drain->malformed = 0;
  drain->corrupt_bytes = 0;
  memset(drain->events, 0, sizeof drain->events);
  memset(drain->exempt, 0, sizeof drain->exempt);
}

int pw_drain_begin(struct pw_drain *drain)
{
  if (is_too_small(&drain->process) || is_too_small(&drain->network) || is_too_small(&drain->unknown))
    return PW_E_OUTPUT_FULL;
  begin(drain);
  return PW_OK;
}

int pw_drain_record(struct pw_drain *drain, const struct pw_head *head)
{
  if (take_event(drain, head) == NO_ROOM)
    return 0;
  count_event(drain, head->kind);
  return 1;
}

int pw_ring_drain(struct pw_ring *ring, struct pw_drain *drain)
{
  const int status = pw_drain_begin(drain);
  if (status != PW_OK)
    return status;
  const uint64_t start = pw_ring_consumer(ring);
  uint64_t position = start, producer = pw_ring_producer(ring);
  int is_unmapped = 0;
  for (uint32_t taken = 0; taken < drain->max_records; taken++) {
    if (taken % RELEASE_EVERY == RELEASE_EVERY - 1)
      pw_ring_release(ring, position);
    if (position == producer) {
      /* The kernel wakes us for a record only if it finds our position at that
       * record; so ours must be seen before the producer's is read again. */
      pw_ring_release(ring, position);
      __atomic_thread_fence(__ATOMIC_SEQ_CST);
      producer = pw_ring_producer(ring);
    }
    if (!step(drain, ring, &position, producer)) {
      is_unmapped = drain->end == PW_DRAIN_BOUND;
      break;
    }
  }
  pw_ring_release(ring, position);
  drain->drained_bytes = position - start;
  return is_unmapped && position == start ? PW_E_SYSCALL : PW_OK;
}

int pw_events_encode(const uint8_t *records, uint64_t records_bytes, const struct pw_fragment *fragment,
                     const struct pw_event_clock *clock, struct pw_event_output *process,
                     struct pw_event_output *network, uint64_t *consumed, uint64_t *malformed)
{
  *consumed = 0;
  *malformed = 0;
  if (is_too_small(process) || is_too_small(network) || fragment->pairs_bytes > PW_FRAGMENT_BYTES)
    return PW_E_OUTPUT_FULL;
  while (*consumed < records_bytes) {
    const uint64_t left = records_bytes - *consumed;
    const struct pw_head *head = (const struct pw_head *)(const void *)(records + *consumed);
    if (left < sizeof *head || head->record_bytes < sizeof *head || padded(head->record_bytes) > left)
      return PW_E_RECORD_SIZE;
    if (pw_event_check(head, head->record_bytes) != PW_OK || pw_is_control(head->kind) || head->kind == PW_FLOW_CLOSED)
      ++*malformed;
    else if (pw_event_is_shipped(head, fragment->scope, clock) &&
             !append_entry(pw_is_process_event(head->kind) ? process : network, head, fragment, clock))
      break;
    *consumed += padded(head->record_bytes);
  }
  return PW_OK;
}
