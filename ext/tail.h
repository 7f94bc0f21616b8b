/* One step of following a file: read behind the offset, encode what was read. */
#ifndef PODWITNESS_TAIL_H
#define PODWITNESS_TAIL_H

#include <stddef.h>
#include <stdint.h>

#include "log.h"

/* Where the file is read to, a piece at a time: small enough to stay in the processor's
 * caches until it is encoded. `capacity` is over PW_LOG_REST_BYTES. */
struct pw_tail_input {
  uint8_t *at;
  size_t capacity;
  size_t enough_bytes;  /* when so much was consumed, or written, no further line is begun */
};

/* Reads `fd` from file offset `offset` on and encodes it (pw_log_encode has the rest),
 * until the end of the file or input->enough_bytes, and no byte behind `until`: what is
 * no whole line before that is not consumed. *at_end: nothing was left but an
 * unterminated line. PW_LOG_END only takes effect at the end of the file. Returns what
 * pw_log_encode returns, or PW_E_SYSCALL (errno tells why; the batch is empty then). */
int pw_tail_read(struct pw_log_stream *stream, const struct pw_plan *plan, int fd, uint64_t offset, uint64_t until,
                 const struct pw_tail_input *input, int flags, int64_t now_ns, int32_t *at_end,
                 struct pw_log_batch *batch);

/* Whether somebody has the file open for writing: 1 yes, 0 no, -1 it can't be told
 * (not the file's owner, or a file system without leases). Meant for files that
 * nobody opens for writing any more: an open for writing in the same microsecond
 * waits until the answer is there. */
int pw_tail_has_writer(int fd);

#endif
