/* Internal. How the drain feeds what is known of names. */
#ifndef PODWITNESS_RESOLVE_H
#define PODWITNESS_RESOLVE_H

#include "resolutions.h"

/* Notes a packet of UDP, or a whole message of TCP. Returns the time that the answer took, 0 for none. */
uint64_t pw_resolve_note(struct pw_resolutions *known, const struct pw_dns *dns, const uint8_t *payload);

/* What is called with each whole message of TCP, and a record made for it. */
typedef void pw_message_taker(void *argument, const struct pw_dns *dns, const uint8_t *payload);

/* Takes one segment. Streams are read as long as no byte is missing: one with a gap is given up, to the end. */
void pw_resolve_segment(struct pw_resolutions *known, const struct pw_dns *dns, const uint8_t *payload,
                        pw_message_taker *take, void *argument);

#endif
