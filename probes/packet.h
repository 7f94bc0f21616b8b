/* What a packet at a socket says of itself: its ends, and how much it carries. */
#ifndef PODWITNESS_PACKET_H
#define PODWITNESS_PACKET_H
#include "dialect.h"
#include "events.h"
#include "flow_owner.h"

#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_TCP 6

#define IPV4_LEAST_BYTES 20
#define IPV6_BYTES 40
#define UDP_BYTES 8
#define TCP_LEAST_BYTES 20
#define ICMP_BYTES 8
/* Whether a packet comes in is passed on as a constant: the verifier takes no pointer that depends on it. */
#define EXTENSIONS_MOST 4 /* headers between IPv6 and what it carries */

/* Numbers of helpers are kernel ABI. */
static long (*skb_load)(void *skb, u32 offset, void *to, u32 bytes) = (void *)26;
static u64 (*skb_socket_cookie)(void *skb) = (void *)46;

/* What skb_socket_cookie() says, which is a call of 20 ns: where there is one already, by a load. */
static __always_inline u64 socket_cookie_of(struct __sk_buff *skb)
{
#if defined(CASTS_POINTERS) && defined(HAVE_sock_common__skc_cookie)
  u64 known = TYPED(sock, skb->sk)->__sk_common.skc_cookie.counter;
  if (known)
    return known;
#endif
  return skb_socket_cookie(skb);
}

/* The part of struct pw_flow that finds it, in the same order. */
struct flow_key {
  u64 socket_id;
  u8 local_address[16];
  u8 remote_address[16];
  u16 family;
  u16 local_port;
  u16 remote_port;
  u8 protocol;
  u8 pad;
};
#define KEY_WORDS (sizeof(struct flow_key) / 8)

_Static_assert(__builtin_offsetof(struct pw_flow, first_ns) - __builtin_offsetof(struct pw_flow, socket_id) ==
                   sizeof(struct flow_key),
               "key of a flow");

struct packet {
  struct flow_key key;
  u32 transport_at; /* offset of what follows the IP header */
  u32 payload_at;
  u32 payload_bytes;
  u32 segments; /* of one that the kernel has put together, or will cut */
  u32 tcp_sequence;
  bool is_ingress;
};

static __always_inline bool is_extension(u8 header)
{
  return header == 0 || header == 43 || header == 60;
}

/* Hop-by-hop, routing and destination options; fragments are whole again, or not yet cut, where we look. */
static __always_inline u8 skip_extensions(void *skb, u8 header, u32 *at)
{
#pragma unroll
  for (int i = 0; i < EXTENSIONS_MOST; i++) {
    u8 next[2] = {};
    if (!is_extension(header) || skb_load(skb, *at, next, sizeof(next)))
      return header;
    header = next[0];
    *at += (next[1] + 1) * 8;
  }
  return header;
}

/* The key is hashed and compared by words. A processor has to wait for a word that was stored in pieces shortly before;
 * so it is stored in one, where that has the first member in its lowest bits. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define SET_IPV4(address, value) (*(u64 *)(address) = (value))
#else
#define SET_IPV4(address, value) (*(u32 *)(address) = (value))
#endif

/* By words, as above. */
static __always_inline void set_ipv6(u8 *address, const u32 *from)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
  ((u64 *)address)[0] = from[0] | (u64)from[1] << 32;
  ((u64 *)address)[1] = from[2] | (u64)from[3] << 32;
#else
  __builtin_memcpy(address, from, 16);
#endif
}

/* Almost every packet: IPv4 without options, in one piece. `end` is checked by the caller. */
static __always_inline u32 read_plain_ipv4(struct packet *packet, const u8 *start, bool is_ingress)
{
  packet->key.family = AF_INET;
  packet->key.protocol = start[9];
  packet->transport_at = IPV4_LEAST_BYTES;
  SET_IPV4(packet->key.local_address, *(const u32 *)(start + (is_ingress ? 16 : 12)));
  SET_IPV4(packet->key.remote_address, *(const u32 *)(start + (is_ingress ? 12 : 16)));
  return bpf_ntohl(*(const u32 *)(start + IPV4_LEAST_BYTES));
}

/* The same of IPv6, which its header leads to at once. `end` is checked by the caller. */
static __always_inline u32 read_plain_ipv6(struct packet *packet, const u8 *start, bool is_ingress)
{
  const u32 *source = (const u32 *)(start + 8), *destination = (const u32 *)(start + 24);
  packet->key.family = AF_INET6;
  packet->key.protocol = start[6];
  packet->transport_at = IPV6_BYTES;
  set_ipv6(packet->key.local_address, is_ingress ? destination : source);
  set_ipv6(packet->key.remote_address, is_ingress ? source : destination);
  return bpf_ntohl(*(const u32 *)(start + IPV6_BYTES));
}

/* Any other. False: too short. */
static __always_inline bool read_any(struct packet *packet, void *skb, bool is_ingress, u32 *first_word)
{
  u8 *source = is_ingress ? packet->key.remote_address : packet->key.local_address;
  u8 *destination = is_ingress ? packet->key.local_address : packet->key.remote_address;
  u8 start[10] = {};
  if (skb_load(skb, 0, start, sizeof(start)))
    return false;
  if (start[0] >> 4 == 4) {
    packet->key.family = AF_INET;
    packet->key.protocol = start[9];
    packet->transport_at = (start[0] & 15) * 4;
    if (skb_load(skb, 12, source, 4) || skb_load(skb, 16, destination, 4))
      return false;
  } else {
    packet->key.family = AF_INET6;
    packet->transport_at = IPV6_BYTES;
    packet->key.protocol = skip_extensions(skb, start[6], &packet->transport_at);
    if (skb_load(skb, 8, source, 16) || skb_load(skb, 24, destination, 16))
      return false;
  }
  if (skb_load(skb, packet->transport_at, first_word, 4))
    return false;
  *first_word = bpf_ntohl(*first_word);
  return true;
}

static __always_inline void set_ports(struct packet *packet, u32 ports, bool is_ingress)
{
  u16 local = is_ingress ? ports : ports >> 16, remote = is_ingress ? ports >> 16 : ports;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
  *(u64 *)&packet->key.family =
    packet->key.family | (u64)local << 16 | (u64)remote << 32 | (u64)packet->key.protocol << 48;
#else
  packet->key.local_port = local;
  packet->key.remote_port = remote;
#endif
}

#endif
