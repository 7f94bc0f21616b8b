/* Internal. Messages of DNS over TCP: each after its length, over as many segments as it takes. */
#ifndef PODWITNESS_RESOLVE_STREAMS_H
#define PODWITNESS_RESOLVE_STREAMS_H

#include "resolve.h"

struct pw_stream { /* one direction of a connection */
  uint64_t socket_id;
  uint64_t last_ns;  /* 0: free */
  uint32_t next_sequence;
  uint32_t seen_bytes; /* of the message, its length included */
  uint32_t message_bytes; /* the same, all; known when two are seen */
  uint8_t is_ingress;
  uint8_t is_lost;
  uint8_t length[2];
  uint8_t kept[PW_DNS_BYTES];
};

/* Of a stream the rest can't be read. */
void pw_resolutions_give_up(struct pw_resolutions *known);

struct pw_stream *pw_resolutions_streams(struct pw_resolutions *known);

#endif
