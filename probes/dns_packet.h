/* DNS as it passes: the packet is copied, up to a bound, and read by the collector. */
#ifndef PODWITNESS_DNS_PACKET_H
#define PODWITNESS_DNS_PACKET_H
#include "emit.h"
#include "flow.h"

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

/* Who sends or gets a packet of DNS, and where. */
struct dns_party {
  struct owner owner;
  u64 net_cookie;
  u32 net_ns;
  u8 source;
};

/* Of UDP the flow knows who it is; of TCP the table of connections, where those are traced. */
static __always_inline void find_party(struct dns_party *party, struct __sk_buff *skb, struct pw_flow_slot *slot)
{
  struct sock *sk = plain_socket(skb->sk);
  struct socket_state *known;
  if (!sk)
    return;
  party->net_ns = net_ns_of(sk);
  party->net_cookie = net_cookie_of(sk);
  party->owner.cgroup_id = cgroup_of_socket(sk);
  if (slot) {
    party->owner.cgroup_id = slot->flow.head.cgroup_id;
    party->owner.entry.entry_start_ns = slot->flow.entry_start_ns;
    party->owner.entry.entry_pid = slot->flow.entry_pid;
    party->owner.entry.tree = slot->flow.entry_way & 15;
    party->owner.entry.entered_by = slot->flow.entry_way >> 4;
    party->owner.start_ns = slot->flow.owner_start_ns;
    party->owner.pid = slot->flow.owner_pid;
    party->owner.uid = slot->flow.owner_uid;
    party->source = slot->flow.owner_source;
    __builtin_memcpy(party->owner.comm, slot->flow.comm, PW_COMM_BYTES);
    return;
  }
  known = find_socket((u64)sk);
  if (!known || !known->owner.pid)
    return;
  party->owner = known->owner;
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
  out->entry = party->owner.entry;
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

#endif
