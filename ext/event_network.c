/* TCP connections and listeners. ECS: source is the client, destination the server. */
#include "event_encode.h"
#include "event_ends.h"

static int is_listener(const struct pw_tcp *tcp)
{
  return tcp->head.kind == PW_TCP_LISTEN || tcp->head.kind == PW_TCP_UNLISTEN ||
         tcp->head.kind == PW_STATE_LISTENER;
}

/* Of the local end. What was sent again is not counted twice. */
static uint64_t payload_sent(const struct pw_tcp *tcp)
{
  return tcp->bytes_sent > tcp->bytes_retransmitted ? tcp->bytes_sent - tcp->bytes_retransmitted : 0;
}

static struct pw_ends ends_of(const struct pw_tcp *tcp)
{
  return (struct pw_ends){.local_address = tcp->local_address,
                          .remote_address = tcp->remote_address,
                          .family = tcp->family,
                          .local_port = tcp->local_port,
                          .remote_port = tcp->remote_port,
                          .protocol = PW_PROTOCOL_TCP,
                          .is_server = tcp->role == PW_SERVER,
                          .is_listener = (uint8_t)is_listener(tcp),
                          .has_role = tcp->role == PW_CLIENT || tcp->role == PW_SERVER,
                          .has_counts = tcp->head.kind == PW_TCP_CLOSE,
                          .bytes_sent = payload_sent(tcp),
                          .packets_sent = tcp->segments_out,
                          .bytes_received = tcp->bytes_received,
                          .packets_received = tcp->segments_in};
}

static struct pw_owner owner_of(const struct pw_tcp *tcp)
{
  const int is_older = (tcp->head.flags & PW_OWNER_UNKNOWN) != 0; /* nobody knows since when */
  return (struct pw_owner){tcp->comm, &tcp->entry, tcp->owner_start_ns, tcp->owner_pid, tcp->owner_uid,
                           is_older ? 0 : tcp->head.time_ns - tcp->duration_ns, tcp->head.time_ns};
}

static uint8_t *put_role(uint8_t *p, const struct pw_tcp *tcp)
{
  static const struct pw_word roles[] = {PW_WORD("unknown"), PW_WORD("client"), PW_WORD("server"), PW_WORD("listener")};
  return put_word(p, &roles[tcp->role <= PW_LISTENER ? tcp->role : 0]);
}

static uint8_t *put_socket(uint8_t *p, const struct pw_tcp *tcp)
{
  unsigned pairs = 3;
  p = PUT(p, "socket");
  uint8_t *const map = p = begin_map(p);
  p = pw_put_hex64(PUT(p, "id"), tcp->socket_id);
  p = put_role(PUT(p, "role"), tcp);
  p = pw_put_owner_source(PUT(p, "owner_source"), tcp->owner_source);
  p = PUT_IF_TRUE(p, "preexisting", tcp->head.flags & PW_OWNER_UNKNOWN, &pairs);
  p = PUT_IF_TRUE(p, "reset", tcp->head.flags & PW_RESET, &pairs);
  if (tcp->head.kind == PW_TCP_LISTEN || tcp->head.kind == PW_STATE_LISTENER) {
    p = pw_put_uint(PUT(p, "backlog"), tcp->backlog);
    pairs++;
  }
  p = PUT_UNLESS_0(p, "rtt_us", tcp->rtt_us, &pairs);
  p = PUT_UNLESS_0(p, "retransmits", tcp->retransmits, &pairs);
  p = PUT_UNLESS_0(p, "retransmitted_bytes", tcp->bytes_retransmitted, &pairs);
  p = PUT_UNLESS_0(p, "acked_bytes", tcp->bytes_acked, &pairs);
  end_map(map, pairs);
  return p;
}

static uint8_t *put_podwitness(uint8_t *p, const struct pw_tcp *tcp, uint32_t scope,
                               const struct pw_event_clock *clock)
{
  unsigned pairs = 4;
  p = PUT(p, "podwitness");
  uint8_t *const map = p = begin_map(p);
  p = pw_put_scope(p, scope, tcp->head.cgroup_id);
  p = pw_put_net_namespace(p, tcp->net_ns, tcp->net_cookie);
  p = pw_put_tree(p, &tcp->head, &tcp->entry, scope, clock, &pairs);
  p = put_socket(p, tcp);
  end_map(map, pairs);
  return p;
}

uint32_t pw_network_event_pairs(const struct pw_tcp *tcp)
{
  return 3 + (tcp->owner_pid != 0 ? 2 : 0) + (is_listener(tcp) ? 1 : 2) + (tcp->error != 0);
}

uint8_t *pw_put_network_event(uint8_t *p, const struct pw_tcp *tcp, uint32_t scope, const struct pw_event_clock *clock)
{
  struct pw_ends ends = ends_of(tcp);
  const struct pw_owner owner = owner_of(tcp);
  pw_know_other_end(&ends, &tcp->head, tcp->net_ns, clock);
  p = pw_put_event_map(p, tcp->head.kind, tcp->head.kind != PW_TCP_CONNECT_FAILED, tcp->duration_ns);
  p = pw_put_owner(p, &owner, clock);
  p = pw_put_ends(p, &ends);
  p = pw_put_network(p, &ends, NULL);
  if (tcp->error != 0)
    p = pw_put_errno(PUT(pw_put_map_head(PUT(p, "error"), 1), "code"), tcp->error);
  return put_podwitness(p, tcp, scope, clock);
}
