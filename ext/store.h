/* Internal: a buffer that grows within a budget that many share. */
#ifndef PODWITNESS_STORE_H
#define PODWITNESS_STORE_H

#include "log.h"

/* All zeros at first. PW_LOG_SLACK_BYTES beyond `bytes` are readable. */
struct pw_store {
  uint8_t *at;
  size_t bytes;
  size_t capacity;
};

/* Appends, to at most `limit` bytes in all. Returns how many bytes were taken: less
 * than the limit allows when the budget or the memory is used up. */
size_t pw_store_append(struct pw_store *store, struct pw_log_budget *budget, const uint8_t *from,
                       size_t bytes, size_t limit);

/* Empties it; memory over `kept_bytes` goes back. */
void pw_store_clear(struct pw_store *store, struct pw_log_budget *budget, size_t kept_bytes);

#endif
