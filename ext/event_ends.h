/* Internal. What records of connections and flows have in common: two ends and what passed between them. */
#ifndef PODWITNESS_EVENT_ENDS_H
#define PODWITNESS_EVENT_ENDS_H

#include "event_put.h"
#include "translations.h"

enum { PW_PROTOCOL_ICMP = 1, PW_PROTOCOL_TCP = 6, PW_PROTOCOL_UDP = 17, PW_PROTOCOL_ICMPV6 = 58 };

struct pw_ends {
  const uint8_t *local_address;
  const uint8_t *remote_address;
  uint16_t family;
  uint16_t local_port; /* of ICMP: type */
  uint16_t remote_port; /* code */
  uint8_t protocol;
  uint8_t is_server; /* the other end is the client */
  uint8_t is_listener; /* there is no other end */
  uint8_t has_role;  /* who is the client is known */
  uint8_t has_counts;
  const char *domain; /* by which our end asked for the other; NULL: not known */
  uint32_t domain_bytes;
  const struct pw_translation *translation; /* where it goes on; NULL: as it was asked for */
  uint64_t bytes_sent;
  uint64_t packets_sent;
  uint64_t bytes_received;
  uint64_t packets_received;
};

struct pw_owner {
  const char *comm;
  const struct pw_entry *entry; /* NULL: not known */
  uint64_t start_ns;
  uint32_t pid; /* 0: not known */
  uint32_t uid;
  uint64_t since_ns; /* from then on it was the one: see struct pw_actor */
  uint64_t time_ns;
};

/* Finds the other end's name, and what it is translated to, where ours is the client. */
void pw_know_other_end(struct pw_ends *ends, const struct pw_head *head, uint32_t net_ns,
                    const struct pw_event_clock *clock);

/* Keys `source` and `destination`, or of a listener the latter. */
uint8_t *pw_put_ends(uint8_t *p, const struct pw_ends *ends);
static inline uint32_t pw_ends_pairs(const struct pw_ends *ends) { return ends->is_listener ? 1 : 2; }

/* Key `network`. `application`: a protocol's name, or NULL. */
uint8_t *pw_put_network(uint8_t *p, const struct pw_ends *ends, const struct pw_word *application);

/* Keys `process` and `user`; nothing where the process is not known. */
uint8_t *pw_put_owner(uint8_t *p, const struct pw_owner *owner, const struct pw_event_clock *clock);
static inline uint32_t pw_owner_pairs(const struct pw_owner *owner) { return owner->pid != 0 ? 2 : 0; }

/* Of enum pw_owner_source. */
uint8_t *pw_put_owner_source(uint8_t *p, uint8_t source);

/* Key `namespaces` inside of `podwitness`; the cookie only where the kernel has one. */
uint8_t *pw_put_net_namespace(uint8_t *p, uint32_t net_ns, uint64_t net_cookie);

#endif
