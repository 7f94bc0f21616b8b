#include "lookout.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "arrival.h"
#include "directories.h"
#include "error.h"
#include "sighting_queue.h"

_Static_assert(PW_NAME_BYTES == NAME_MAX + 1, "a name and its NUL");

#define READ_BYTES 16384
#define EVENTS_A_READ (READ_BYTES / PW_WATCH_EVENT_BYTES)
/* Room in the queue for which a read that holds the longest event is worth while. */
#define LEAST_ROOM (PW_WATCH_LONGEST_BYTES / PW_WATCH_EVENT_BYTES)

_Static_assert(EVENTS_A_READ <= PW_LOOKOUT_PINS && PW_LOOKOUT_PINS <= PW_LOOKOUT_EVENTS,
               "a read fits the queue");

struct pw_lookout {
  struct pw_watched watched;
  struct pw_sighting_queue queue; /* its mutex is also that of the directories watched */
  pthread_t thread;
  int end_fd;
  struct pw_watch_event events[EVENTS_A_READ];
  _Alignas(16) uint8_t buffer[READ_BYTES];
};

static void take(struct pw_lookout *lookout, const struct pw_watch_event *event)
{
  char name[PW_NAME_BYTES];
  uint32_t bytes = event->name_bytes < PW_NAME_BYTES ? event->name_bytes : PW_NAME_BYTES - 1;
  memcpy(name, lookout->buffer + event->name_offset, bytes);
  name[bytes] = 0;
  pw_arrival_tell(&lookout->watched, event->wd, event->mask, name);
  if (event->mask & PW_IN_IGNORED)
    pw_directories_forget(&lookout->watched.directories, event->wd);
}

/* With the mutex. False: the lookout ends. */
static bool read_events(struct pw_lookout *lookout)
{
  size_t room = pw_sightings_await_room(&lookout->queue, LEAST_ROOM) * (size_t)PW_WATCH_EVENT_BYTES;
  uint32_t count;
  if (!room || pw_watch_read(&lookout->watched.watch, lookout->buffer, room < READ_BYTES ? room : READ_BYTES,
                             lookout->events, &count) != PW_OK)
    return false;
  for (uint32_t i = 0; i < count; i++)
    take(lookout, &lookout->events[i]);
  return !lookout->queue.ending;
}

/* Before ordinary work where we may (CAP_SYS_NICE): on a loaded node a thread of the
 * usual kind waits its turn for milliseconds. What it does in one go is bounded by
 * the queue, then it waits for its ordinary consumer. */
static void go_first(void)
{
  struct sched_param lowest = {.sched_priority = 1};
  (void)pthread_setschedparam(pthread_self(), SCHED_FIFO, &lowest);
}

static void *look_out(void *argument)
{
  struct pw_lookout *lookout = argument;
  go_first();
  struct pollfd polled[] = {{.fd = lookout->watched.watch.fd, .events = POLLIN},
                            {.fd = lookout->end_fd, .events = POLLIN}};
  for (bool goes_on = true; goes_on;) {
    if (poll(polled, 2, -1) < 0 && errno != EINTR)
      break;
    pthread_mutex_lock(&lookout->queue.mutex);
    goes_on = read_events(lookout);
    pthread_mutex_unlock(&lookout->queue.mutex);
  }
  return NULL;
}

/* Signals are for Python's threads: ours takes none. */
static int start(struct pw_lookout *lookout)
{
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int error = pthread_create(&lookout->thread, NULL, look_out, lookout);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return error;
}

static void dispose(struct pw_lookout *lookout)
{
  pw_watch_close(&lookout->watched.watch);
  pw_directories_clear(&lookout->watched.directories);
  if (lookout->end_fd >= 0)
    close(lookout->end_fd);
  pw_sightings_dispose(&lookout->queue);
  free(lookout);
}

struct pw_lookout *pw_lookout_open(void)
{
  struct pw_lookout *lookout = calloc(1, sizeof *lookout);
  if (!lookout)
    return NULL;
  pw_sightings_init(&lookout->queue);
  lookout->watched.queue = &lookout->queue;
  lookout->end_fd = eventfd(0, EFD_CLOEXEC);
  int error = pw_watch_open(&lookout->watched.watch) || lookout->end_fd < 0 ? errno : start(lookout);
  if (!error)
    return lookout;
  dispose(lookout);
  errno = error;
  return NULL;
}

void pw_lookout_close(struct pw_lookout *lookout)
{
  pw_sightings_end(&lookout->queue);
  (void)eventfd_write(lookout->end_fd, 1);
  pthread_join(lookout->thread, NULL);
  dispose(lookout);
}

int pw_lookout_add_dir(struct pw_lookout *lookout, const char *path, const char *below, int32_t *wd)
{
  /* The mutex also keeps the thread from seeing an event of a directory that it does not know yet. */
  pthread_mutex_lock(&lookout->queue.mutex);
  int status = pw_watched_add(&lookout->watched, path, path, below, wd);
  int error = errno;
  pthread_mutex_unlock(&lookout->queue.mutex);
  errno = error;
  return status;
}

void pw_lookout_remove(struct pw_lookout *lookout, int32_t wd)
{
  pthread_mutex_lock(&lookout->queue.mutex);
  pw_directories_forget(&lookout->watched.directories, wd);
  pw_watch_remove(&lookout->watched.watch, wd);
  pthread_mutex_unlock(&lookout->queue.mutex);
}

uint32_t pw_lookout_wait(struct pw_lookout *lookout, int timeout_ms, struct pw_sighting *sightings,
                         uint32_t capacity)
{
  return pw_sightings_take(&lookout->queue, timeout_ms, sightings, capacity);
}

void pw_lookout_wake(struct pw_lookout *lookout)
{
  pw_sightings_wake(&lookout->queue);
}
