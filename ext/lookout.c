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
#include <time.h>
#include <unistd.h>

#include "error.h"

_Static_assert(PW_NAME_BYTES == NAME_MAX + 1, "a name and its NUL");

#define READ_BYTES 16384
#define EVENTS_A_READ (READ_BYTES / PW_WATCH_EVENT_BYTES)
/* Room in the queue for which a read that holds the longest event is worth while. */
#define LEAST_ROOM (PW_WATCH_LONGEST_BYTES / PW_WATCH_EVENT_BYTES)

_Static_assert(EVENTS_A_READ <= PW_LOOKOUT_EVENTS, "a read fits the queue");

struct pw_lookout {
  struct pw_watch watch;
  pthread_t thread;
  pthread_mutex_t mutex;   /* of all below, and of watch's directories */
  pthread_cond_t arrived;
  pthread_cond_t room;
  int end_fd;
  bool ending;
  bool woken;
  uint32_t first;
  uint32_t count;
  struct pw_sighting queue[PW_LOOKOUT_EVENTS];
  struct pw_watch_event events[EVENTS_A_READ];
  _Alignas(16) uint8_t buffer[READ_BYTES];
};

static void enqueue(struct pw_lookout *lookout, const struct pw_watch_event *event)
{
  struct pw_sighting *to = &lookout->queue[(lookout->first + lookout->count++) % PW_LOOKOUT_EVENTS];
  to->wd = event->wd;
  to->mask = event->mask;
  to->pinned_fd = event->pinned_fd;
  to->name_bytes = event->name_bytes < PW_NAME_BYTES ? event->name_bytes : PW_NAME_BYTES - 1;
  memcpy(to->name, lookout->buffer + event->name_offset, to->name_bytes);
  to->name[to->name_bytes] = 0;
}

/* With the mutex. False: the lookout ends. */
static bool read_events(struct pw_lookout *lookout)
{
  while (!lookout->ending && PW_LOOKOUT_EVENTS - lookout->count < LEAST_ROOM)
    pthread_cond_wait(&lookout->room, &lookout->mutex);
  if (lookout->ending)
    return false;
  size_t room = (size_t)(PW_LOOKOUT_EVENTS - lookout->count) * PW_WATCH_EVENT_BYTES;
  uint32_t count;
  if (pw_watch_read(&lookout->watch, lookout->buffer, room < READ_BYTES ? room : READ_BYTES,
                    lookout->events, &count) != PW_OK)
    return false;
  for (uint32_t i = 0; i < count; i++)
    enqueue(lookout, &lookout->events[i]);
  if (count)
    pthread_cond_signal(&lookout->arrived);
  return true;
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
  struct pollfd polled[] = {{.fd = lookout->watch.fd, .events = POLLIN},
                            {.fd = lookout->end_fd, .events = POLLIN}};
  for (bool goes_on = true; goes_on;) {
    if (poll(polled, 2, -1) < 0 && errno != EINTR)
      break;
    pthread_mutex_lock(&lookout->mutex);
    goes_on = read_events(lookout);
    pthread_mutex_unlock(&lookout->mutex);
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
  pw_watch_close(&lookout->watch);
  if (lookout->end_fd >= 0)
    close(lookout->end_fd);
  pthread_cond_destroy(&lookout->arrived);
  pthread_cond_destroy(&lookout->room);
  pthread_mutex_destroy(&lookout->mutex);
  free(lookout);
}

struct pw_lookout *pw_lookout_open(void)
{
  struct pw_lookout *lookout = calloc(1, sizeof *lookout);
  if (!lookout)
    return NULL;
  /* With priority inheritance: who holds it while the thread that goes first waits goes first too. */
  pthread_mutexattr_t inherits;
  pthread_mutexattr_init(&inherits);
  pthread_mutexattr_setprotocol(&inherits, PTHREAD_PRIO_INHERIT);
  pthread_mutex_init(&lookout->mutex, &inherits);
  pthread_mutexattr_destroy(&inherits);
  pthread_cond_init(&lookout->room, NULL);
  pthread_condattr_t monotonic;
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init(&lookout->arrived, &monotonic);
  pthread_condattr_destroy(&monotonic);
  lookout->end_fd = eventfd(0, EFD_CLOEXEC);
  int error = pw_watch_open(&lookout->watch) || lookout->end_fd < 0 ? errno : start(lookout);
  if (!error)
    return lookout;
  dispose(lookout);
  errno = error;
  return NULL;
}

void pw_lookout_close(struct pw_lookout *lookout)
{
  pthread_mutex_lock(&lookout->mutex);
  lookout->ending = true;
  pthread_cond_signal(&lookout->room);
  pthread_mutex_unlock(&lookout->mutex);
  (void)eventfd_write(lookout->end_fd, 1);
  pthread_join(lookout->thread, NULL);
  for (; lookout->count; lookout->count--, lookout->first++) {
    int fd = lookout->queue[lookout->first % PW_LOOKOUT_EVENTS].pinned_fd;
    if (fd >= 0)
      close(fd);
  }
  dispose(lookout);
}

int pw_lookout_add_dir(struct pw_lookout *lookout, const char *path, int32_t *wd)
{
  /* The mutex also keeps the thread from seeing an event of a directory that it does not know yet. */
  pthread_mutex_lock(&lookout->mutex);
  int status = pw_watch_add_dir(&lookout->watch, path, wd);
  int error = errno;
  pthread_mutex_unlock(&lookout->mutex);
  errno = error;
  return status;
}

void pw_lookout_remove(struct pw_lookout *lookout, int32_t wd)
{
  pthread_mutex_lock(&lookout->mutex);
  pw_watch_remove(&lookout->watch, wd);
  pthread_mutex_unlock(&lookout->mutex);
}

static struct timespec time_after(int milliseconds)
{
  struct timespec when;
  clock_gettime(CLOCK_MONOTONIC, &when);
  when.tv_sec += milliseconds / 1000;
  when.tv_nsec += milliseconds % 1000 * 1000000L;
  if (when.tv_nsec >= 1000000000L) {
    when.tv_sec++;
    when.tv_nsec -= 1000000000L;
  }
  return when;
}

uint32_t pw_lookout_wait(struct pw_lookout *lookout, int timeout_ms, struct pw_sighting *sightings,
                         uint32_t capacity)
{
  struct timespec until = time_after(timeout_ms);
  uint32_t taken = 0;
  pthread_mutex_lock(&lookout->mutex);
  while (!lookout->count && !lookout->woken &&
         !pthread_cond_timedwait(&lookout->arrived, &lookout->mutex, &until))
    ;
  lookout->woken = false;
  for (; taken < capacity && lookout->count; lookout->count--)
    sightings[taken++] = lookout->queue[lookout->first++ % PW_LOOKOUT_EVENTS];
  if (taken)
    pthread_cond_signal(&lookout->room);
  pthread_mutex_unlock(&lookout->mutex);
  return taken;
}

void pw_lookout_wake(struct pw_lookout *lookout)
{
  pthread_mutex_lock(&lookout->mutex);
  lookout->woken = true;
  pthread_cond_signal(&lookout->arrived);
  pthread_mutex_unlock(&lookout->mutex);
}
