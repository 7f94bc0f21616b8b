/* Who is behind a socket of UDP or ICMP, as far as is known before it sends. */
#ifndef PODWITNESS_FLOW_OWNER_H
#define PODWITNESS_FLOW_OWNER_H
#include "events.h"
#include "socket_table.h"

#define IPPROTO_ICMP 1
#define IPPROTO_UDP 17
#define IPPROTO_UDPLITE 136 /* headers of the same length, with the ports at the same place */
#define IPPROTO_ICMPV6 58

/* Value of the map `flow_owners`, by the socket's cookie. */
struct holder {
  struct owner owner;
  u64 source; /* enum pw_owner_source */
};

_Static_assert(PW_VALUE_BYTES_flow_owners == sizeof(struct holder), "value of flow_owners");

#endif
