/* UDP and ICMP, counted for each socket and other end; DNS, as it passes; bind().
 *
 * The programs of a cgroup see each packet of a socket at the IP layer: in sendmsg(2), where the current process
 * is the one that sends (io_uring's too), and in a soft interrupt before it is put into the socket. They must
 * return 1, or the packet is dropped. */
#include "dialect.h"
#include "dns_packet.h"
#include "emit.h"
#include "events.h"
#include "flow.h"
#include "flow_put.h"
#include "packet.h"

#define ALLOW 1

#define ICMP_ECHO_REPLY 0
#define ICMP_ECHO 8
#define ICMPV6_ECHO 128
#define ICMPV6_ECHO_REPLY 129

#define SKB_PROGRAM(name) int on_##name(struct __sk_buff *skb)
#define SOCKET_PROGRAM(name) int on_##name(struct bpf_sock *ctx)

static __always_inline void on_udp(struct __sk_buff *skb, struct packet *packet)
{
  struct pw_flow_slot *slot;
  packet->payload_at = packet->transport_at + UDP_BYTES;
  packet->payload_bytes = skb->len > packet->payload_at ? skb->len - packet->payload_at : 0;
  packet->segments = skb->gso_segs ? skb->gso_segs : 1;
  packet->key.socket_id = socket_cookie_of(skb);
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

/* A packet of IPv4 without options. */
static __always_inline bool is_plain_ipv4(const u8 *start, const u8 *end)
{
  return start + IPV4_LEAST_BYTES + 4 <= end && start[0] == 0x45;
}

/* One of IPv6 that carries `protocol`, without headers in between. */
static __always_inline bool is_plain_ipv6(const u8 *start, const u8 *end, u8 protocol)
{
  return start + IPV6_BYTES + 4 <= end && start[0] >> 4 == 6 && start[6] == protocol;
}

/* Nearly all packets of a node: the program costs them as little as it can. */
static __always_inline bool is_plain_tcp(const u8 *start, const u8 *end)
{
  if (is_plain_ipv4(start, end))
    return start[9] == IPPROTO_TCP && !is_of_dns(bpf_ntohl(*(const u32 *)(start + IPV4_LEAST_BYTES)));
  return is_plain_ipv6(start, end, IPPROTO_TCP) && !is_of_dns(bpf_ntohl(*(const u32 *)(start + IPV6_BYTES)));
}

/* Of what is not UDP. True: it is like UDP. */
static __always_inline bool on_rare_packet(struct __sk_buff *skb, struct packet *packet, u32 first_word,
                                           bool is_ingress)
{
  u8 protocol = packet->key.protocol;
  if (protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6) {
    on_icmp(skb, packet, first_word);
  } else if (protocol == IPPROTO_TCP && is_of_dns(first_word)) {
    set_ports(packet, first_word, is_ingress);
    on_dns_by_tcp(skb, packet);
  }
  return protocol == IPPROTO_UDPLITE;
}

static __always_inline void on_other_packet(struct __sk_buff *skb, const u8 *start, const u8 *end, bool is_ingress)
{
  struct packet packet = {.is_ingress = is_ingress};
  u32 first_word = 0; /* of what IP carries: ports, or type and code */
  if (is_plain_ipv4(start, end))
    first_word = read_plain_ipv4(&packet, start, is_ingress);
  else if (is_plain_ipv6(start, end, IPPROTO_UDP))
    first_word = read_plain_ipv6(&packet, start, is_ingress);
  else if (!read_any(&packet, skb, is_ingress, &first_word))
    return;
  if (packet.key.protocol != IPPROTO_UDP && !on_rare_packet(skb, &packet, first_word, is_ingress))
    return;
  set_ports(&packet, first_word, is_ingress);
  on_udp(skb, &packet);
}

static __always_inline int on_packet(struct __sk_buff *skb, bool is_ingress)
{
  const u8 *start = (const u8 *)(long)skb->data, *end = (const u8 *)(long)skb->data_end;
  if (!is_plain_tcp(start, end))
    on_other_packet(skb, start, end, is_ingress);
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
static __always_inline void emit_socket_closed(u64 cookie)
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
    if (slot && slot->flow.socket_id == cookie && !slot->flow.end_cause)
      end_flow(&slot->flow, PW_END_CLOSED);
  }
  if (known->count > SOCKET_FLOWS)
    emit_socket_closed(cookie);
  map_delete(MAP(flow_sockets), &cookie);
  map_delete(MAP(flow_owners), &cookie);
  return ALLOW;
}

static __always_inline int on_bind(struct bpf_sock *ctx, u16 family)
{
  struct sock *sk = plain_socket(ctx);
  u64 cookie = skb_socket_cookie(ctx);
  struct holder holder = {.source = PW_OWNER_BY_BIND};
  struct owner *owner = &holder.owner;
  struct pw_bind *out;
  if (!fill_caller(owner))
    return ALLOW;
  if (ctx->protocol != IPPROTO_TCP)
    map_update(MAP(flow_owners), &cookie, &holder, 0);
  out = RESERVE(pw_bind, PW_BIND, owner->cgroup_id);
  if (!out)
    return ALLOW;
  out->socket_id = cookie;
  out->entry = owner->entry;
  out->owner_start_ns = owner->start_ns;
  out->owner_pid = owner->pid;
  out->owner_uid = owner->uid;
  __builtin_memcpy(out->comm, owner->comm, PW_COMM_BYTES);
  out->net_ns = net_ns_of(sk);
  out->net_cookie = net_cookie_of(sk);
  out->family = family;
  out->protocol = ctx->protocol;
  out->local_port = ctx->src_port;
  if (family == AF_INET)
    *(u32 *)out->local_address = ctx->src_ip4;
  else
    read_kernel(out->local_address, 16, &sk->__sk_common.skc_v6_rcv_saddr);
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
