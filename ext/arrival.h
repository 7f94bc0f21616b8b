/* Internal: what appears in watched directories is pinned; directories that matter are watched and looked into. */
#ifndef PODWITNESS_ARRIVAL_H
#define PODWITNESS_ARRIVAL_H

#include <stdint.h>

#include "directories.h"
#include "sighting_queue.h"
#include "watch.h"

struct pw_watched {
  struct pw_watch watch;
  struct pw_directories directories;
  struct pw_sighting_queue *queue; /* whoever calls has its mutex */
};

/* Watches the directory at `address`, known as `path` from then on. */
int pw_watched_add(struct pw_watched *watched, const char *address, const char *path, const char *below,
                   int32_t *wd);

/* Queues an event, with what it takes to open what appeared however soon it is gone again. May wait for room,
 * without the mutex. */
void pw_arrival_tell(struct pw_watched *watched, int32_t wd, uint32_t mask, const char *name);

#endif
