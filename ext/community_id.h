/* Community ID v1 (https://github.com/corelight/community-id-spec): one name for a flow, whoever looks at it. */
#ifndef PODWITNESS_COMMUNITY_ID_H
#define PODWITNESS_COMMUNITY_ID_H

#include <stddef.h>
#include <stdint.h>

#define PW_SHA1_BYTES 20
#define PW_SHA1_SHORT_BYTES 55      /* with its padding it is one block */
#define PW_COMMUNITY_ID_BYTES 30    /* "1:" and 28 letters; no NUL */

/* SHA-1 of at most PW_SHA1_SHORT_BYTES. */
void pw_sha1_short(const uint8_t *bytes, size_t length, uint8_t digest[PW_SHA1_BYTES]);

/* Addresses are 4 or 16 bytes, as the network has them. For ICMP (1, 58) the ports are type and code of what
 * the source sent. */
struct pw_tuple {
  const uint8_t *source_address;
  const uint8_t *destination_address;
  uint16_t source_port;
  uint16_t destination_port;
  uint8_t address_bytes;
  uint8_t protocol;
};

void pw_community_id(const struct pw_tuple *tuple, uint16_t seed, char id[PW_COMMUNITY_ID_BYTES]);

#endif
