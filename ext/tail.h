/* One step of following a file: read behind the offset, encode what was read. */
#ifndef PODWITNESS_TAIL_H
#define PODWITNESS_TAIL_H

#include <stddef.h>
#include <stdint.h>

#include "log.h"

/* Reads up to in_capacity bytes of `fd` at file offset `offset` into `in` and
 * encodes them (pw_log_encode has the rest). *in_bytes: how many were read; 0 at
 * the end of the file. PW_LOG_END only takes effect when the read reached the end
 * of the file, that is, when *in_bytes < in_capacity. Returns what pw_log_encode
 * returns, or PW_E_SYSCALL (errno tells why; the batch is empty then). */
int pw_tail_read(struct pw_log_stream *stream, const struct pw_plan *plan, int fd, uint64_t offset,
                 uint8_t *in, size_t in_capacity, int flags, int64_t now_ns, size_t *in_bytes,
                 struct pw_log_batch *batch);

/* Whether somebody has the file open for writing: 1 yes, 0 no, -1 it can't be told
 * (not the file's owner, or a file system without leases). Meant for files that
 * nobody opens for writing any more: an open for writing in the same microsecond
 * waits until the answer is there. */
int pw_tail_has_writer(int fd);

#endif
