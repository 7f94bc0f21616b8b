/* TCP connections and listeners. ECS: source is the client, destination the server. */
#include "event_encode.h"

enum { FAMILY_IPV6 = 10 };

static int is_listener(const struct pw_tcp *tcp)
{
  return tcp->head.kind == PW_TCP_LISTEN || tcp->head.kind == PW_TCP_UNLISTEN ||
         tcp->head.kind == PW_STATE_LISTENER;
}

static int is_ipv6(const struct pw_tcp *tcp)
{
  return tcp->family == FAMILY_IPV6;
}

/* Of the local end. What was sent again is not counted twice. */
static uint64_t payload_sent(const struct pw_tcp *tcp)
{
  return tcp->bytes_sent > tcp->bytes_retransmitted ? tcp->bytes_sent - tcp->bytes_retransmitted : 0;
}

/* One end of the connection: address, port and, once it is over, what it sent. */
static uint8_t *put_end(uint8_t *p, const struct pw_tcp *tcp, int local)
{
  const int is_over = tcp->head.kind == PW_TCP_CLOSE;
  p = pw_put_map_head(p, is_over ? 4 : 2);
  p = pw_put_address(PUT(p, "ip"), local ? tcp->local_address : tcp->remote_address, is_ipv6(tcp));
  p = pw_put_uint(PUT(p, "port"), local ? tcp->local_port : tcp->remote_port);
  if (!is_over)
    return p;
  p = pw_put_uint(PUT(p, "bytes"), local ? payload_sent(tcp) : tcp->bytes_received);
  return pw_put_uint(PUT(p, "packets"), local ? tcp->segments_out : tcp->segments_in);
}

static uint8_t *put_ends(uint8_t *p, const struct pw_tcp *tcp)
{
  const int is_server = tcp->role == PW_SERVER;
  if (is_listener(tcp))
    return put_end(PUT(p, "destination"), tcp, 1);
  p = put_end(PUT(p, "source"), tcp, !is_server);
  return put_end(PUT(p, "destination"), tcp, is_server);
}

static uint8_t *put_network(uint8_t *p, const struct pw_tcp *tcp)
{
  unsigned pairs = 2;
  p = PUT(p, "network");
  uint8_t *const map = p = begin_map(p);
  p = PUT(PUT(p, "transport"), "tcp");
  p = PUT(p, "type");
  p = is_ipv6(tcp) && !pw_is_mapped_ipv4(tcp->local_address) ? PUT(p, "ipv6") : PUT(p, "ipv4");
  if (!is_listener(tcp) && (tcp->role == PW_CLIENT || tcp->role == PW_SERVER)) {
    p = PUT(p, "direction");
    p = tcp->role == PW_CLIENT ? PUT(p, "egress") : PUT(p, "ingress");
    pairs++;
  }
  if (tcp->head.kind == PW_TCP_CLOSE) {
    p = pw_put_uint(PUT(p, "bytes"), payload_sent(tcp) + tcp->bytes_received);
    p = pw_put_uint(PUT(p, "packets"), (uint64_t)tcp->segments_out + tcp->segments_in);
    pairs += 2;
  }
  end_map(map, pairs);
  return p;
}

static uint8_t *put_process(uint8_t *p, const struct pw_tcp *tcp, const struct pw_event_clock *clock)
{
  unsigned pairs = 3;
  p = PUT(p, "process");
  uint8_t *const map = p = begin_map(p);
  p = pw_put_uint(PUT(p, "pid"), tcp->owner_pid);
  p = pw_put_comm(PUT(p, "name"), tcp->comm);
  if (tcp->owner_start_ns != 0) {
    p = pw_put_entity_id(PUT(p, "entity_id"), clock->node_id, tcp->owner_start_ns, tcp->owner_pid);
    pairs++;
  }
  p = pw_put_user(p, tcp->owner_uid);
  end_map(map, pairs);
  return p;
}

static uint8_t *put_role(uint8_t *p, const struct pw_tcp *tcp)
{
  static const struct pw_word roles[] = {PW_WORD("unknown"), PW_WORD("client"), PW_WORD("server"), PW_WORD("listener")};
  return put_word(p, &roles[tcp->role <= PW_LISTENER ? tcp->role : 0]);
}

static uint8_t *put_owner_source(uint8_t *p, const struct pw_tcp *tcp)
{
  static const struct pw_word sources[] = {PW_WORD("none"), PW_WORD("listener"), PW_WORD("close"), PW_WORD("io"),
                                           PW_WORD("call"), PW_WORD("descriptor")};
  return put_word(p, &sources[tcp->owner_source <= PW_OWNER_BY_DESCRIPTOR ? tcp->owner_source : 0]);
}

static uint8_t *put_socket(uint8_t *p, const struct pw_tcp *tcp)
{
  unsigned pairs = 3;
  p = PUT(p, "socket");
  uint8_t *const map = p = begin_map(p);
  p = pw_put_hex64(PUT(p, "id"), tcp->socket_id);
  p = put_role(PUT(p, "role"), tcp);
  p = put_owner_source(PUT(p, "owner_source"), tcp);
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

static uint8_t *put_podwitness(uint8_t *p, const struct pw_tcp *tcp, uint32_t scope)
{
  p = pw_put_map_head(PUT(p, "podwitness"), 4);
  p = pw_put_scope(p, scope, tcp->head.cgroup_id);
  p = pw_put_map_head(PUT(p, "namespaces"), 1);
  p = pw_put_uint(PUT(p, "net"), tcp->net_ns);
  return put_socket(p, tcp);
}

uint32_t pw_network_event_pairs(const struct pw_tcp *tcp)
{
  return 3 + (tcp->owner_pid != 0 ? 2 : 0) + (is_listener(tcp) ? 1 : 2) + (tcp->error != 0);
}

uint8_t *pw_put_network_event(uint8_t *p, const struct pw_tcp *tcp, uint32_t scope, const struct pw_event_clock *clock)
{
  p = pw_put_event_map(p, tcp->head.kind, tcp->head.kind != PW_TCP_CONNECT_FAILED, tcp->duration_ns);
  if (tcp->owner_pid != 0) {
    p = put_process(p, tcp, clock);
    p = pw_put_user(p, tcp->owner_uid);
  }
  p = put_ends(p, tcp);
  p = put_network(p, tcp);
  if (tcp->error != 0)
    p = pw_put_errno(PUT(pw_put_map_head(PUT(p, "error"), 1), "code"), tcp->error);
  return put_podwitness(p, tcp, scope);
}
