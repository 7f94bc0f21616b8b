#include "sighting_queue.h"

#include <time.h>
#include <unistd.h>

void pw_sightings_init(struct pw_sighting_queue *queue)
{
  /* With priority inheritance: who holds it while the thread that goes first waits goes first too. */
  pthread_mutexattr_t inherits;
  pthread_mutexattr_init(&inherits);
  pthread_mutexattr_setprotocol(&inherits, PTHREAD_PRIO_INHERIT);
  pthread_mutex_init(&queue->mutex, &inherits);
  pthread_mutexattr_destroy(&inherits);
  pthread_cond_init(&queue->room, NULL);
  pthread_condattr_t monotonic;
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init(&queue->arrived, &monotonic);
  pthread_condattr_destroy(&monotonic);
}

void pw_sightings_dispose(struct pw_sighting_queue *queue)
{
  for (; queue->count; queue->count--, queue->first++) {
    int fd = queue->sighting[queue->first % PW_LOOKOUT_EVENTS].pin.fd;
    if (fd >= 0)
      close(fd);
  }
  pthread_cond_destroy(&queue->arrived);
  pthread_cond_destroy(&queue->room);
  pthread_mutex_destroy(&queue->mutex);
}

void pw_sightings_end(struct pw_sighting_queue *queue)
{
  pthread_mutex_lock(&queue->mutex);
  queue->ending = true;
  pthread_cond_signal(&queue->room);
  pthread_mutex_unlock(&queue->mutex);
}

static uint32_t room_of(const struct pw_sighting_queue *queue)
{
  uint32_t places = PW_LOOKOUT_EVENTS - queue->count, pins = PW_LOOKOUT_PINS - queue->pins;
  return places < pins ? places : pins;
}

uint32_t pw_sightings_await_room(struct pw_sighting_queue *queue, uint32_t wanted)
{
  while (!queue->ending && room_of(queue) < wanted)
    pthread_cond_wait(&queue->room, &queue->mutex);
  return queue->ending ? 0 : room_of(queue);
}

void pw_sightings_put(struct pw_sighting_queue *queue, const struct pw_sighting *sighting)
{
  if (!pw_sightings_await_room(queue, 1)) {
    if (sighting->pin.fd >= 0)
      close(sighting->pin.fd);
    return;
  }
  if (!queue->count)
    queue->first = 0; /* pages behind what it ever had at once stay untouched */
  queue->sighting[(queue->first + queue->count++) % PW_LOOKOUT_EVENTS] = *sighting;
  queue->pins += sighting->pin.fd >= 0;
  pthread_cond_signal(&queue->arrived);
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

uint32_t pw_sightings_take(struct pw_sighting_queue *queue, int timeout_ms, struct pw_sighting *sightings,
                           uint32_t capacity)
{
  struct timespec until = time_after(timeout_ms);
  uint32_t taken = 0;
  pthread_mutex_lock(&queue->mutex);
  while (!queue->count && !queue->woken &&
         !pthread_cond_timedwait(&queue->arrived, &queue->mutex, &until))
    ;
  queue->woken = false;
  for (; taken < capacity && queue->count; queue->count--) {
    sightings[taken] = queue->sighting[queue->first++ % PW_LOOKOUT_EVENTS];
    queue->pins -= sightings[taken++].pin.fd >= 0;
  }
  if (taken)
    pthread_cond_signal(&queue->room);
  pthread_mutex_unlock(&queue->mutex);
  return taken;
}

void pw_sightings_wake(struct pw_sighting_queue *queue)
{
  pthread_mutex_lock(&queue->mutex);
  queue->woken = true;
  pthread_cond_signal(&queue->arrived);
  pthread_mutex_unlock(&queue->mutex);
}
