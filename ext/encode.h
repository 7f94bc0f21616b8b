/* Internal: a batch that is filled by more than one piece of the same file. */
#ifndef PODWITNESS_ENCODE_H
#define PODWITNESS_ENCODE_H

#include "log.h"

/* The batch is empty. */
void pw_log_begin(struct pw_log_batch *batch);

/* As pw_log_encode(), added to what the batch has; `consumed` counts all pieces together. */
int pw_log_more(struct pw_log_stream *stream, const struct pw_plan *plan, const uint8_t *in, size_t in_bytes,
                uint64_t offset, int flags, int64_t now_ns, struct pw_log_batch *batch);

#endif
