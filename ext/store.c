#include "store.h"

#include <stdlib.h>
#include <string.h>

/* A stream may be closed in one thread while another is at work with another stream. */
static int take_budget(struct pw_log_budget *budget, size_t bytes)
{
  size_t taken = __atomic_add_fetch(&budget->taken_bytes, bytes, __ATOMIC_RELAXED);
  if (taken <= budget->limit_bytes)
    return 1;
  __atomic_sub_fetch(&budget->taken_bytes, bytes, __ATOMIC_RELAXED);
  return 0;
}

static int grow(struct pw_store *store, struct pw_log_budget *budget, size_t capacity)
{
  size_t more = capacity - store->capacity;
  if (!take_budget(budget, more))
    return 0;
  uint8_t *grown = realloc(store->at, capacity);
  if (!grown) {
    __atomic_sub_fetch(&budget->taken_bytes, more, __ATOMIC_RELAXED);
    return 0;
  }
  memset(grown + store->capacity, 0, more);
  store->at = grown;
  store->capacity = capacity;
  return 1;
}

size_t pw_store_append(struct pw_store *store, struct pw_log_budget *budget, const uint8_t *from,
                       size_t bytes, size_t limit)
{
  size_t room = store->bytes < limit ? limit - store->bytes : 0;
  size_t taken = bytes < room ? bytes : room;
  size_t wanted = store->bytes + taken + PW_LOG_SLACK_BYTES;
  size_t ample = wanted + wanted / 2 < limit ? wanted + wanted / 2 : limit + PW_LOG_SLACK_BYTES;
  if (wanted > store->capacity && !grow(store, budget, ample) && !grow(store, budget, wanted))
    taken = store->capacity ? store->capacity - PW_LOG_SLACK_BYTES - store->bytes : 0;
  if (taken)
    memcpy(store->at + store->bytes, from, taken);
  store->bytes += taken;
  return taken;
}

void pw_store_clear(struct pw_store *store, struct pw_log_budget *budget, size_t kept_bytes)
{
  store->bytes = 0;
  if (store->capacity <= kept_bytes)
    return;
  free(store->at);
  __atomic_sub_fetch(&budget->taken_bytes, store->capacity, __ATOMIC_RELAXED);
  *store = (struct pw_store){0};
}
