/* Internal: the queue of sightings, bounded in number and in descriptors. */
#ifndef PODWITNESS_SIGHTING_QUEUE_H
#define PODWITNESS_SIGHTING_QUEUE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "lookout.h"

struct pw_sighting_queue {
  pthread_mutex_t mutex; /* of all here, and of what its owner says */
  pthread_cond_t arrived;
  pthread_cond_t room;
  bool ending;
  bool woken;
  uint32_t first;
  uint32_t count;
  uint32_t pins;
  struct pw_sighting sighting[PW_LOOKOUT_EVENTS];
};

void pw_sightings_init(struct pw_sighting_queue *queue);

/* Closes what was pinned and not received. Nobody uses the queue any more. */
void pw_sightings_dispose(struct pw_sighting_queue *queue);

/* Nobody waits for room any more. */
void pw_sightings_end(struct pw_sighting_queue *queue);

/* With the mutex: waits until that many find room, pinned or not; gives how many do. 0: the end. */
uint32_t pw_sightings_await_room(struct pw_sighting_queue *queue, uint32_t wanted);

/* With the mutex: adds one, waits for its room; at the end its pin is closed instead. */
void pw_sightings_put(struct pw_sighting_queue *queue, const struct pw_sighting *sighting);

/* As pw_lookout_wait and pw_lookout_wake. */
uint32_t pw_sightings_take(struct pw_sighting_queue *queue, int timeout_ms, struct pw_sighting *sightings,
                           uint32_t capacity);
void pw_sightings_wake(struct pw_sighting_queue *queue);

#endif
