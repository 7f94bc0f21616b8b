/* Directories watched by a thread of C that does nothing but pin what appears and
 * queue it. Python's interpreter lock is never waited for between an event and
 * its pin: a file that lives for a millisecond is still opened.
 *
 * Directories that appear below one that was added, as far down as its patterns reach, are watched by the thread
 * itself, and what is in them already is pinned. Links to directories are not followed: the receiver may add
 * what they lead to. */
#ifndef PODWITNESS_LOOKOUT_H
#define PODWITNESS_LOOKOUT_H

#include <stdint.h>

#include "sightings.h"
#include "watch.h"

#define PW_LOOKOUT_EVENTS 4096 /* queued; then the kernel queues, up to fs.inotify.max_queued_events */
#define PW_LOOKOUT_PINS 1024   /* of these: descriptors */

struct pw_lookout;

/* NULL: errno tells why; EMFILE: fs.inotify.max_user_instances or descriptors. */
struct pw_lookout *pw_lookout_open(void);

/* Ends the thread, closes what was pinned and not received. */
void pw_lookout_close(struct pw_lookout *lookout);

/* Watches a directory, from any thread. `path` has no links in it; `below` has patterns of what matters in it
 * and below it, each ended by NUL, and ends with an empty one (see below.h). A directory has one wd, however
 * often it is added; the last patterns count, for what appears from then on.
 * PW_E_SYSCALL: errno tells why; ENOSPC: fs.inotify.max_user_watches. */
int pw_lookout_add_dir(struct pw_lookout *lookout, const char *path, const char *below, int32_t *wd);

/* Ends a watch, from any thread; one that has ended by itself is no error. */
void pw_lookout_remove(struct pw_lookout *lookout, int32_t wd);

/* Takes up to `capacity` sightings, oldest first; waits for one up to timeout_ms.
 * Returns how many; 0: timeout or pw_lookout_wake(). */
uint32_t pw_lookout_wait(struct pw_lookout *lookout, int timeout_ms, struct pw_sighting *sightings,
                         uint32_t capacity);

/* Lets the present or next pw_lookout_wait() return at once. */
void pw_lookout_wake(struct pw_lookout *lookout);

#endif
