/* Internal: a batch that is filled by more than one piece of the same file. */
#ifndef PODWITNESS_ENCODE_H
#define PODWITNESS_ENCODE_H

#include "log.h"

/* The batch is empty. */
void pw_log_begin(struct pw_log_batch *batch);

/* As pw_log_encode(), added to what the batch has; `consumed` counts all pieces together. When `enough_bytes` of
 * them are consumed, or written, the start of a line stays where it is: in the file it takes no memory. */
int pw_log_more(struct pw_log_stream *stream, const struct pw_plan *plan, const uint8_t *in, size_t in_bytes,
                uint64_t offset, int flags, int64_t now_ns, size_t enough_bytes, struct pw_log_batch *batch);

/* Whether the stream holds the start of a line that may still become a whole record. */
int pw_log_is_within_line(const struct pw_log_stream *stream);

#endif
