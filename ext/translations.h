/* Where connections go on to that were made to another address: a Service's, behind NAT. */
#ifndef PODWITNESS_TRANSLATIONS_H
#define PODWITNESS_TRANSLATIONS_H

#include <stdint.h>

#define PW_TRANSLATIONS 8192 /* what is full gives up the oldest */

struct pw_place { /* IPv4 in the first four bytes */
  uint8_t address[16];
  uint16_t port;
  uint16_t pad[3];
};

struct pw_translation {
  struct pw_place source;      /* as the client has it */
  struct pw_place destination; /* what it asked for */
  struct pw_place translated_source;
  struct pw_place translated_destination;
  uint64_t number; /* counts up; 0: free */
  uint16_t family;
  uint16_t protocol;
  uint32_t pad;
};

struct pw_translations;

/* NULL: out of memory. */
struct pw_translations *pw_translations_new(void);
void pw_translations_free(struct pw_translations *known);

/* Copies it, but for its number. */
void pw_translations_add(struct pw_translations *known, const struct pw_translation *translation);

/* NULL: the connection is not known as translated. */
const struct pw_translation *pw_translations_find(const struct pw_translations *known, uint16_t family,
                                                  uint16_t protocol, const struct pw_place *source,
                                                  const struct pw_place *destination);

#endif
