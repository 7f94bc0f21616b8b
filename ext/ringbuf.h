/* Internal. Walking the ring one record at a time. */
#ifndef PODWITNESS_RINGBUF_H
#define PODWITNESS_RINGBUF_H

#include "event.h"

enum pw_slot_state { PW_SLOT_RECORD, PW_SLOT_DISCARDED, PW_SLOT_EMPTY, PW_SLOT_CORRUPT, PW_SLOT_UNMAPPED };

struct pw_slot {
  const uint8_t *record; /* until the next look */
  uint32_t bytes;
  uint64_t next; /* position behind it */
};

/* Looks at what stands at `position`, given that the producer was seen at
 * `producer`. A record that a program is still writing counts as PW_SLOT_EMPTY.
 * Never looks at bytes outside position .. producer. PW_SLOT_CORRUPT: the
 * lengths make no sense; `next` is the producer's position. PW_SLOT_UNMAPPED:
 * it can't be mapped, errno tells why. */
enum pw_slot_state pw_ring_look(struct pw_ring *ring, uint64_t position, uint64_t producer, struct pw_slot *slot);

/* Gives the space before `position` back to the kernel. */
void pw_ring_release(struct pw_ring *ring, uint64_t position);

uint64_t pw_ring_consumer(const struct pw_ring *ring);
uint64_t pw_ring_producer(const struct pw_ring *ring);

#endif
