/* UDP and ICMP, counted for each socket and other end; DNS, as it passes; bind().
 *
 * The programs of a cgroup see each packet of a socket at the IP layer: in sendmsg(2), where the current process
 * is the one that sends (io_uring's too), and in a soft interrupt before it is put into the socket. They must
 * return 1, or the packet is dropped. */
#include "dialect.h"
#include "emit.h"
#include "events.h"
#include "flow.h"
#include "packet.h"

#define ALLOW 1

#define ICMP_ECHO_REPLY 0
#define ICMP_ECHO 8
#define ICMPV6_ECHO 128
#define ICMPV6_ECHO_REPLY 129

#ifndef PW_DNS_PORT_1
#define PW_DNS_PORT_1 53
#endif
#ifndef PW_DNS_PORT_2
#define PW_DNS_PORT_2 0
#endif
#ifndef PW_DNS_PORT_3
#define PW_DNS_PORT_3 0
#endif
#ifndef PW_DNS_PORT_4
#define PW_DNS_PORT_4 0
#endif

#define SKB_PROGRAM(name) int on_##name(struct __sk_buff *skb)
#define SOCKET_PROGRAM(name) int on_##name(struct bpf_sock *ctx)

struct dns_short {
  struct pw_dns dns;
  u8 payload[PW_DNS_SHORT_BYTES];
};

struct dns_long {
  struct pw_dns dns;
  u8 payload[PW_DNS_BYTES];
};

static __always_inline bool is_dns_port(u16 port)
{
  return port && (port == PW_DNS_PORT_1 || port == PW_DNS_PORT_2 || port == PW_DNS_PORT_3 || port == PW_DNS_PORT_4);
}

static __always_inline void set_owner(struct pw_flow *flow, const struct flow_owner *owner, u8 source)
{
  flow->owner_start_ns = owner->start_ns;
  flow->owner_pid = owner->pid;
  flow->owner_uid = owner->uid;
  flow->owner_source = source;
  flow->head.cgroup_id = owner->cgroup_id;
  __builtin_memcpy(flow->comm, owner->comm, PW_COMM_BYTES);
}

/* What goes out is sent by the current process, unless the kernel itself answers. Of what comes in only who
 * bound the socket is known. */
static __always_inline void find_owner(struct pw_flow *flow, struct sock *sk, bool is_ingress)
{
  struct flow_owner owner = {}, *bound;
  u64 own_cgroup_id = cgroup_of_socket(sk), *cgroup_id, socket_id = flow->socket_id;
  u32 net_ns = flow->net_ns;
  flow->head.cgroup_id = own_cgroup_id;
  if (flow->head.flags & PW_KERNEL_SOCKET) {
    cgroup_id = map_lookup(MAP(netns_cgroups), &net_ns);
    if (cgroup_id) {
      flow->head.cgroup_id = *cgroup_id;
      flow->head.flags |= PW_BY_NETNS;
    }
    return;
  }
  map_update(MAP(netns_cgroups), &net_ns, &own_cgroup_id, 0);
  if (!is_ingress) {
    if (fill_caller(&owner))
      set_owner(flow, &owner, PW_OWNER_BY_IO);
    return;
  }
  bound = map_lookup(MAP(flow_owners), &socket_id);
  if (bound)
    set_owner(flow, bound, PW_OWNER_BY_BIND);
}

static __always_inline void begin_flow(struct pw_flow *flow, const struct packet *packet, struct sock *sk, u64 now_ns)
{
  __builtin_memset(flow, 0, sizeof(*flow));
  __builtin_memcpy(&flow->socket_id, &packet->key, sizeof(packet->key));
  flow->net_ns = net_ns_of(sk);
  flow->net_cookie = net_cookie_of(sk);
  if (is_kernel_socket(sk))
    flow->head.flags = PW_KERNEL_SOCKET;
  flow->is_ingress = packet->is_ingress;
  find_owner(flow, sk, packet->is_ingress);
  flow->head.record_bytes = sizeof(*flow);
  flow->first_ns = now_ns;
  count_packet(flow, packet, now_ns);
}

static __always_inline void emit_flow(struct pw_flow *flow, u16 kind)
{
  u16 flags = flow->head.flags;
  if (!begin(&flow->head, kind, flow->head.cgroup_id))
    return;
  flow->head.flags = flags;
  flow->head.record_bytes = sizeof(*flow);
  output(flow, kind, sizeof(*flow));
}

static __always_inline void remember_flow(const struct pw_flow *flow)
{
  struct socket_flows first = {.slots = {flow->slot}, .count = 1};
  struct socket_flows *known = map_lookup(MAP(flow_sockets), &flow->socket_id);
  u64 number;
  if (!known) {
    map_update(MAP(flow_sockets), &flow->socket_id, &first, 0);
    return;
  }
  number = known->count;
  if (number < SOCKET_FLOWS) {
    BOUND(number, SOCKET_FLOWS - 1);
    known->slots[number] = flow->slot;
  }
  known->count++;
}

/* Where its places are being changed on another CPU: a flow of its own of this one packet. */
static __always_inline void emit_contended(const struct packet *packet, struct sock *sk, u64 now_ns)
{
  struct pw_flow *flow = RESERVE(pw_flow, PW_FLOW_END, cgroup_of_socket(sk));
  if (!flow)
    return;
  begin_flow(flow, packet, sk, now_ns);
  flow->head.kind = PW_FLOW_END;
  flow->head.time_ns = now_ns;
  flow->end_cause = PW_END_CONTENDED;
  flow->is_over = 1;
  submit(flow, PW_FLOW_END);
}

static __always_inline void end_flow(struct pw_flow *flow, u8 cause)
{
  flow->end_cause = cause;
  flow->is_over = 1;
  emit_flow(flow, PW_FLOW_END);
}

/* With the lock. The packet is counted. */
static __always_inline struct pw_flow_slot *put_flow(u32 set, const struct packet *packet, struct sock *sk, u64 now_ns)
{
  struct pw_flow_slot *slot = find_flow(set, &packet->key); /* another CPU may have been first */
  u32 index = 0;
  if (slot && now_ns - slot->flow.last_ns <= PW_FLOW_IDLE_NS) {
    count_packet(&slot->flow, packet, now_ns);
    return slot;
  }
  if (!slot)
    slot = choose_place(set, &index);
  else
    index = slot->flow.slot;
  if (!slot)
    return 0;
  if (slot->flow.first_ns && !slot->flow.is_over)
    end_flow(&slot->flow, now_ns - slot->flow.last_ns > PW_FLOW_IDLE_NS ? PW_END_IDLE : PW_END_EVICTED);
  slot->version++;
  begin_flow(&slot->flow, packet, sk, now_ns);
  slot->flow.slot = index;
  slot->version++;
  remember_flow(&slot->flow);
  emit_flow(&slot->flow, PW_FLOW_START);
  return slot;
}

static __always_inline struct pw_flow_slot *add_flow(u32 set, const struct packet *packet, struct sock *sk, u64 now_ns)
{
  struct pw_flow_slot *slot;
  u32 one = 1;
  if (map_update(MAP(flow_locks), &set, &one, UPDATE_IF_NEW)) {
    emit_contended(packet, sk, now_ns);
    return 0;
  }
  slot = put_flow(set, packet, sk, now_ns);
  map_delete(MAP(flow_locks), &set);
  return slot;
}

/* A flow that began with a packet that came in learns who answers. */
static __always_inline void learn_sender(struct pw_flow *flow)
{
  struct flow_owner owner = {};
  if (!(flow->head.flags & PW_KERNEL_SOCKET) && fill_caller(&owner))
    set_owner(flow, &owner, PW_OWNER_BY_IO);
  else
    flow->owner_source = PW_OWNER_BY_IO;
}

static __always_inline struct pw_flow_slot *on_flow(struct __sk_buff *skb, const struct packet *packet)
{
  u64 now_ns = bpf_ktime_get_boot_ns();
  u32 set = set_of(&packet->key);
  struct pw_flow_slot *slot = find_flow(set, &packet->key);
  struct sock *sk;
  if (slot && now_ns - slot->flow.last_ns <= PW_FLOW_IDLE_NS) {
    count_packet(&slot->flow, packet, now_ns);
    if (!packet->is_ingress && slot->flow.owner_source != PW_OWNER_BY_IO)
      learn_sender(&slot->flow);
    return slot;
  }
  sk = plain_socket(skb->sk);
  return sk ? add_flow(set, packet, sk, now_ns) : 0;
}

/* Who sends or gets a packet of DNS, and where. */
struct dns_party {
  struct flow_owner owner;
  u64 net_cookie;
  u32 net_ns;
  u8 source;
};

/* Of UDP the flow knows who it is; of TCP the table of connections, where those are traced. */
static __always_inline void find_party(struct dns_party *party, struct __sk_buff *skb, struct pw_flow_slot *slot)
{
  struct sock *sk = plain_socket(skb->sk);
  struct flow_owner *known;
  if (!sk)
    return;
  party->net_ns = net_ns_of(sk);
  party->net_cookie = net_cookie_of(sk);
  party->owner.cgroup_id = cgroup_of_socket(sk);
  if (slot) {
    party->owner.cgroup_id = slot->flow.head.cgroup_id;
    party->owner.start_ns = slot->flow.owner_start_ns;
    party->owner.pid = slot->flow.owner_pid;
    party->owner.uid = slot->flow.owner_uid;
    party->source = slot->flow.owner_source;
    __builtin_memcpy(party->owner.comm, slot->flow.comm, PW_COMM_BYTES);
    return;
  }
  known = map_lookup(MAP(sockets), &sk); /* struct socket_state begins with its owner */
  if (!known || !known->pid)
    return;
  party->owner = *known;
  party->source = PW_OWNER_BY_CALL;
}

static __always_inline void
fill_dns(struct pw_dns *out, const struct packet *packet, const struct dns_party *party, u32 bytes)
{
  const struct flow_key *key = &packet->key;
  out->head.record_bytes = sizeof(*out) + bytes;
  out->payload_bytes = bytes;
  out->payload_total_bytes = packet->payload_bytes;
  out->sequence = packet->tcp_sequence;
  out->socket_id = key->socket_id;
  out->family = key->family;
  out->local_port = key->local_port;
  out->remote_port = key->remote_port;
  out->protocol = key->protocol;
  out->is_ingress = packet->is_ingress;
  __builtin_memcpy(out->local_address, key->local_address, 16);
  __builtin_memcpy(out->remote_address, key->remote_address, 16);
  out->net_ns = party->net_ns;
  out->net_cookie = party->net_cookie;
  out->owner_start_ns = party->owner.start_ns;
  out->owner_pid = party->owner.pid;
  out->owner_uid = party->owner.uid;
  out->owner_source = party->source;
  __builtin_memcpy(out->comm, party->owner.comm, PW_COMM_BYTES);
}

/* The record is reserved in one of two sizes, since a reservation's must be known beforehand; a scratch area
 * would be overwritten by a soft interrupt. `record_bytes` tells the true size. */
static __always_inline void emit_dns(struct __sk_buff *skb, const struct packet *packet, struct pw_flow_slot *slot)
{
  struct dns_party party = {};
  u64 bytes = packet->payload_bytes;
  if (!bytes)
    return;
  find_party(&party, skb, slot);
  if (bytes < PW_DNS_SHORT_BYTES) {
    struct dns_short *out = RESERVE_PART(dns_short, sizeof(struct pw_dns), PW_DNS, party.owner.cgroup_id);
    if (!out)
      return;
    BOUND(bytes, PW_DNS_SHORT_BYTES - 1);
    fill_dns(&out->dns, packet, &party, bytes);
    if (bytes)
      skb_load(skb, packet->payload_at, out->payload, bytes);
    submit(out, PW_DNS);
  } else {
    struct dns_long *out = RESERVE_PART(dns_long, sizeof(struct pw_dns), PW_DNS, party.owner.cgroup_id);
    if (!out)
      return;
    bytes = bytes < PW_DNS_BYTES ? bytes : PW_DNS_BYTES - 1;
    BOUND(bytes, PW_DNS_BYTES - 1);
    fill_dns(&out->dns, packet, &party, bytes);
    if (bytes)
      skb_load(skb, packet->payload_at, out->payload, bytes);
    submit(out, PW_DNS);
  }
}

static __always_inline void on_udp(struct __sk_buff *skb, struct packet *packet)
{
  struct pw_flow_slot *slot;
  packet->payload_at = packet->transport_at + UDP_BYTES;
  packet->payload_bytes = skb->len > packet->payload_at ? skb->len - packet->payload_at : 0;
  packet->segments = skb->gso_segs ? skb->gso_segs : 1;
  packet->key.socket_id = skb_socket_cookie(skb);
  slot = on_flow(skb, packet);
  if (is_dns_port(packet->key.remote_port) || is_dns_port(packet->key.local_port))
    emit_dns(skb, packet, slot);
}

/* Neighbours and multicast listeners of IPv6 are the kernel's own talk on the link: not counted. */
static __always_inline void on_icmp(struct __sk_buff *skb, struct packet *packet, u32 first_word)
{
  struct sock *sk = plain_socket(skb->sk);
  u8 type = first_word >> 24, code = first_word >> 16;
  if (!sk || (packet->key.protocol == IPPROTO_ICMPV6 && type > ICMPV6_ECHO_REPLY))
    return;
  packet->key.local_port = type;
  packet->key.remote_port = code;
  if (packet->key.protocol == IPPROTO_ICMP && type == ICMP_ECHO_REPLY)
    packet->key.local_port = ICMP_ECHO;
  if (packet->key.protocol == IPPROTO_ICMPV6 && type == ICMPV6_ECHO_REPLY)
    packet->key.local_port = ICMPV6_ECHO;
  packet->payload_bytes = skb->len > packet->transport_at ? skb->len - packet->transport_at : 0;
  packet->segments = 1;
  /* The kernel answers by a socket of each CPU, for all namespaces. */
  packet->key.socket_id = is_kernel_socket(sk) ? net_ns_of(sk) : skb_socket_cookie(skb);
  on_flow(skb, packet);
}

static __always_inline void on_dns_by_tcp(struct __sk_buff *skb, struct packet *packet)
{
  u8 offset = 0;
  if (skb_load(skb, packet->transport_at + 4, &packet->tcp_sequence, 4) ||
      skb_load(skb, packet->transport_at + 12, &offset, 1))
    return;
  packet->tcp_sequence = bpf_ntohl(packet->tcp_sequence);
  packet->payload_at = packet->transport_at + (offset >> 4) * 4;
  packet->payload_bytes = skb->len > packet->payload_at ? skb->len - packet->payload_at : 0;
  packet->key.socket_id = skb_socket_cookie(skb);
  emit_dns(skb, packet, 0);
}

static __always_inline bool is_of_dns(u32 ports)
{
  return is_dns_port(ports >> 16) || is_dns_port(ports);
}

static __always_inline int on_packet(struct __sk_buff *skb, bool is_ingress)
{
  struct packet packet = {};
  const u8 *start = (const u8 *)(long)skb->data, *end = (const u8 *)(long)skb->data_end;
  u32 first_word = 0; /* of what IP carries: ports, or type and code */
  if (start + IPV4_LEAST_BYTES + 4 <= end && start[0] == 0x45) {
    if (start[9] == IPPROTO_TCP && !is_of_dns(bpf_ntohl(*(const u32 *)(start + IPV4_LEAST_BYTES))))
      return ALLOW;
    first_word = read_plain_ipv4(&packet, start, is_ingress);
  } else if (!read_any(&packet, skb, is_ingress, &first_word)) {
    return ALLOW;
  }
  packet.is_ingress = is_ingress;
  if (packet.key.protocol == IPPROTO_ICMP || packet.key.protocol == IPPROTO_ICMPV6) {
    on_icmp(skb, &packet, first_word);
    return ALLOW;
  }
  set_ports(&packet, first_word, is_ingress);
  if (packet.key.protocol == IPPROTO_UDP)
    on_udp(skb, &packet);
  else if (packet.key.protocol == IPPROTO_TCP && is_of_dns(first_word))
    on_dns_by_tcp(skb, &packet);
  return ALLOW;
}

SKB_PROGRAM(cgroup_skb_egress)
{
  return on_packet(skb, false);
}

SKB_PROGRAM(cgroup_skb_ingress)
{
  return on_packet(skb, true);
}

/* Flows of a socket that has more than it has places for are found by the collector. */
static __always_inline void emit_closed(u64 cookie)
{
  struct pw_flow *out = RESERVE(pw_flow, PW_FLOW_CLOSED, 0);
  if (!out)
    return;
  out->socket_id = cookie;
  submit(out, PW_FLOW_CLOSED);
}

SOCKET_PROGRAM(cgroup_sock_release)
{
  u64 cookie;
  struct socket_flows *known;
  if (ctx->protocol == IPPROTO_TCP)
    return ALLOW;
  cookie = skb_socket_cookie(ctx);
  known = map_lookup(MAP(flow_sockets), &cookie);
  if (!known)
    return ALLOW;
#pragma unroll
  for (u32 number = 0; number < SOCKET_FLOWS; number++) {
    struct pw_flow_slot *slot = number < known->count ? map_lookup(MAP(flows), &known->slots[number]) : 0;
    if (slot && slot->flow.socket_id == cookie && !slot->flow.is_over)
      end_flow(&slot->flow, PW_END_CLOSED);
  }
  if (known->count > SOCKET_FLOWS)
    emit_closed(cookie);
  map_delete(MAP(flow_sockets), &cookie);
  map_delete(MAP(flow_owners), &cookie);
  return ALLOW;
}

static __always_inline int on_bind(struct bpf_sock *ctx, u16 family)
{
  struct sock *sk = plain_socket(ctx);
  u64 cookie = skb_socket_cookie(ctx);
  struct flow_owner owner = {};
  struct pw_bind *out;
  if (!fill_caller(&owner))
    return ALLOW;
  if (ctx->protocol != IPPROTO_TCP)
    map_update(MAP(flow_owners), &cookie, &owner, 0);
  out = RESERVE(pw_bind, PW_BIND, owner.cgroup_id);
  if (!out)
    return ALLOW;
  out->socket_id = cookie;
  out->owner_start_ns = owner.start_ns;
  out->owner_pid = owner.pid;
  out->owner_uid = owner.uid;
  __builtin_memcpy(out->comm, owner.comm, PW_COMM_BYTES);
  out->net_ns = net_ns_of(sk);
  out->net_cookie = net_cookie_of(sk);
  out->family = family;
  out->protocol = ctx->protocol;
  out->local_port = ctx->src_port;
  if (family == AF_INET)
    *(u32 *)out->local_address = ctx->src_ip4;
  else
    bpf_probe_read_kernel(out->local_address, 16, &sk->__sk_common.skc_v6_rcv_saddr);
  submit(out, PW_BIND);
  return ALLOW;
}

SOCKET_PROGRAM(cgroup_post_bind4)
{
  return on_bind(ctx, AF_INET);
}

SOCKET_PROGRAM(cgroup_post_bind6)
{
  return on_bind(ctx, AF_INET6);
}
