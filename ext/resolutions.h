/* What the DNS that was seen says of later connections: the name that an address was asked by, in the same pod. */
#ifndef PODWITNESS_RESOLUTIONS_H
#define PODWITNESS_RESOLUTIONS_H

#include "event.h"

/* Bounds. What is full gives up what expires first; of queries, of streams, the oldest. */
#define PW_RESOLVED_NAMES 4096
#define PW_OPEN_QUERIES 4096
#define PW_DNS_STREAMS 64

struct pw_resolutions;

/* `host_net_ns`: inode of the host's network namespace, whose processes are told apart by their cgroup; in any
 * other a pod's containers share what they know. NULL: out of memory. */
struct pw_resolutions *pw_resolutions_new(uint32_t host_net_ns);
void pw_resolutions_free(struct pw_resolutions *known);

/* What could not be read since the start. */
struct pw_unread {
  uint64_t malformed; /* packets, and messages of TCP, that are no DNS */
  uint64_t streams;   /* of TCP, given up: a byte was missing, or their place was needed within a message */
};

const struct pw_unread *pw_resolutions_unread(const struct pw_resolutions *known);

/* Whose the name is looked for. */
struct pw_inquirer {
  uint64_t cgroup_id;
  uint32_t net_ns;
  uint16_t family;
  uint16_t pad;
};

/* The name by which it asked for the address, not NUL ended; NULL: there is none, or it has expired. */
const char *pw_resolutions_find(const struct pw_resolutions *known, const struct pw_inquirer *inquirer,
                                const uint8_t address[16], uint64_t now_ns, uint32_t *name_bytes);

#endif
