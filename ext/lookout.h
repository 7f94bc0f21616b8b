/* Directories watched by a thread of C that does nothing but pin what appears and
 * queue it. Python's interpreter lock is never waited for between an event and
 * its pin: a file that lives for a millisecond is still opened. */
#ifndef PODWITNESS_LOOKOUT_H
#define PODWITNESS_LOOKOUT_H

#include <stdint.h>

#include "watch.h"

#define PW_LOOKOUT_EVENTS 1024 /* queued; then the kernel queues, up to fs.inotify.max_queued_events */
#define PW_NAME_BYTES 256      /* NAME_MAX and NUL */

struct pw_sighting {
  int32_t wd;             /* -1 with PW_IN_Q_OVERFLOW: events were lost */
  uint32_t mask;
  int32_t pinned_fd;      /* as in struct pw_watch_event; the receiver's */
  uint32_t name_bytes;
  char name[PW_NAME_BYTES];
};

struct pw_lookout;

/* NULL: errno tells why; EMFILE: fs.inotify.max_user_instances or descriptors. */
struct pw_lookout *pw_lookout_open(void);

/* Ends the thread, closes what was pinned and not received. */
void pw_lookout_close(struct pw_lookout *lookout);

/* As pw_watch_add_dir and pw_watch_remove, from any thread. */
int pw_lookout_add_dir(struct pw_lookout *lookout, const char *path, int32_t *wd);
void pw_lookout_remove(struct pw_lookout *lookout, int32_t wd);

/* Takes up to `capacity` sightings, oldest first; waits for one up to timeout_ms.
 * Returns how many; 0: timeout or pw_lookout_wake(). */
uint32_t pw_lookout_wait(struct pw_lookout *lookout, int timeout_ms, struct pw_sighting *sightings,
                         uint32_t capacity);

/* Lets the present or next pw_lookout_wait() return at once. */
void pw_lookout_wake(struct pw_lookout *lookout);

#endif
