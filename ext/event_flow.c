/* Flows of UDP and ICMP, and bind(). */
#include "event_ends.h"
#include "event_encode.h"

static struct pw_ends ends_of(const struct pw_flow *flow)
{
  return (struct pw_ends){.local_address = flow->local_address,
                          .remote_address = flow->remote_address,
                          .family = flow->family,
                          .local_port = flow->local_port,
                          .remote_port = flow->remote_port,
                          .protocol = flow->protocol,
                          .is_server = flow->is_ingress != 0,
                          .has_role = 1,
                          .has_counts = 1,
                          .bytes_sent = flow->bytes_sent,
                          .packets_sent = flow->packets_sent,
                          .bytes_received = flow->bytes_received,
                          .packets_received = flow->packets_received};
}

static struct pw_entry entry_of(const struct pw_flow *flow)
{
  return (struct pw_entry){.entry_start_ns = flow->entry_start_ns,
                           .entry_pid = flow->entry_pid,
                           .tree = flow->entry_way & 15,
                           .entered_by = flow->entry_way >> 4};
}

static struct pw_owner owner_of(const struct pw_flow *flow, const struct pw_entry *entry)
{
  return (struct pw_owner){flow->comm, entry, flow->owner_start_ns, flow->owner_pid, flow->owner_uid, flow->first_ns,
                           flow->last_ns};
}

static int is_icmp(const struct pw_flow *flow)
{
  return flow->protocol == PW_PROTOCOL_ICMP || flow->protocol == PW_PROTOCOL_ICMPV6;
}

static uint8_t *put_socket(uint8_t *p, const struct pw_flow *flow)
{
  unsigned pairs = 1;
  p = PUT(p, "socket");
  uint8_t *const map = p = begin_map(p);
  if (!(flow->head.flags & PW_KERNEL_SOCKET)) {
    p = pw_put_hex64(PUT(p, "id"), flow->socket_id);
    pairs++;
  }
  p = pw_put_owner_source(PUT(p, "owner_source"), flow->owner_pid != 0 ? flow->owner_source : PW_OWNER_NONE);
  p = PUT_IF_TRUE(p, "kernel", flow->head.flags & PW_KERNEL_SOCKET, &pairs);
  p = PUT_IF_TRUE(p, "by_namespace", flow->head.flags & PW_BY_NETNS, &pairs);
  end_map(map, pairs);
  return p;
}

static uint8_t *put_icmp(uint8_t *p, const struct pw_flow *flow)
{
  p = pw_put_map_head(PUT(p, "icmp"), 2);
  p = pw_put_uint(PUT(p, "type"), flow->local_port);
  return pw_put_uint(PUT(p, "code"), flow->remote_port);
}

static uint8_t *put_podwitness(uint8_t *p, const struct pw_flow *flow, const struct pw_entry *entry, uint32_t scope,
                               const struct pw_event_clock *clock)
{
  static const struct pw_word causes[] = {PW_WORD("none"), PW_WORD("closed"), PW_WORD("idle"), PW_WORD("evicted"),
                                          PW_WORD("contended")};
  const int is_end = flow->head.kind == PW_FLOW_END;
  unsigned pairs = 4u + (unsigned)(is_icmp(flow) + is_end);
  p = PUT(p, "podwitness");
  uint8_t *const map = p = begin_map(p);
  p = pw_put_scope(p, scope, flow->head.cgroup_id);
  p = pw_put_net_namespace(p, flow->net_ns, flow->net_cookie);
  p = pw_put_tree(p, &flow->head, entry, scope, clock, &pairs);
  p = put_socket(p, flow);
  if (is_icmp(flow))
    p = put_icmp(p, flow);
  if (is_end) {
    p = pw_put_map_head(PUT(p, "flow"), 1);
    p = put_word(PUT(p, "end_cause"), &causes[flow->end_cause <= PW_END_CONTENDED ? flow->end_cause : 0]);
  }
  end_map(map, pairs);
  return p;
}

uint32_t pw_flow_event_pairs(const struct pw_flow *flow)
{
  const struct pw_owner owner = owner_of(flow, NULL);
  return 5 + pw_owner_pairs(&owner);
}

uint8_t *pw_put_flow_event(uint8_t *p, const struct pw_flow *flow, uint32_t scope, const struct pw_event_clock *clock)
{
  struct pw_ends ends = ends_of(flow);
  const struct pw_entry entry = entry_of(flow);
  const struct pw_owner owner = owner_of(flow, &entry);
  pw_know_other_end(&ends, &flow->head, flow->net_ns, clock);
  p = pw_put_event_map(p, flow->head.kind, 1, flow->last_ns > flow->first_ns ? flow->last_ns - flow->first_ns : 0);
  p = pw_put_owner(p, &owner, clock);
  p = pw_put_ends(p, &ends);
  p = pw_put_network(p, &ends, NULL);
  return put_podwitness(p, flow, &entry, scope, clock);
}

static struct pw_owner binder_of(const struct pw_bind *bound)
{
  const uint64_t time_ns = bound->head.time_ns;
  return (struct pw_owner){bound->comm, &bound->entry, bound->owner_start_ns, bound->owner_pid, bound->owner_uid,
                           pw_is_state(bound->head.kind) ? 0 : time_ns, time_ns};
}

uint32_t pw_bind_event_pairs(const struct pw_bind *bound)
{
  const struct pw_owner owner = binder_of(bound);
  return 4 + pw_owner_pairs(&owner);
}

uint8_t *pw_put_bind_event(uint8_t *p, const struct pw_bind *bound, uint32_t scope, const struct pw_event_clock *clock)
{
  const struct pw_owner owner = binder_of(bound);
  const struct pw_ends ends = {.local_address = bound->local_address,
                               .remote_address = bound->local_address,
                               .family = bound->family,
                               .local_port = bound->local_port,
                               .protocol = bound->protocol,
                               .is_listener = 1};
  const int is_state = pw_is_state(bound->head.kind);
  p = pw_put_event_map(p, bound->head.kind, 1, 0);
  p = pw_put_owner(p, &owner, clock);
  p = pw_put_ends(p, &ends);
  p = pw_put_network(p, &ends, NULL);
  unsigned pairs = 4;
  p = PUT(p, "podwitness");
  uint8_t *const map = p = begin_map(p);
  p = pw_put_scope(p, scope, bound->head.cgroup_id);
  p = pw_put_net_namespace(p, bound->net_ns, bound->net_cookie);
  p = pw_put_tree(p, &bound->head, &bound->entry, scope, clock, &pairs);
  p = pw_put_map_head(PUT(p, "socket"), 2u + (unsigned)is_state);
  p = pw_put_hex64(PUT(p, "id"), bound->socket_id);
  p = pw_put_owner_source(PUT(p, "owner_source"), is_state ? PW_OWNER_BY_DESCRIPTOR : PW_OWNER_BY_BIND);
  if (is_state)
    p = pw_put_byte(PUT(p, "preexisting"), 0xc3);
  end_map(map, pairs);
  return p;
}
