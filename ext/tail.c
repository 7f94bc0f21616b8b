#include "tail.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "encode.h"

static size_t least(uint64_t one, uint64_t other)
{
  return (size_t)(one < other ? one : other);
}

static ssize_t read_at(int fd, uint8_t *in, size_t in_capacity, uint64_t offset)
{
  ssize_t got;
  do
    got = pread(fd, in, in_capacity, (off_t)offset);
  while (got < 0 && errno == EINTR);
  return got;
}

/* A line that is begun is read to its end: until then each of many logs would hold a part of one. */
static int is_enough(const struct pw_log_stream *stream, const struct pw_tail_input *input,
                     const struct pw_log_batch *batch)
{
  return (batch->consumed >= input->enough_bytes || batch->out_bytes >= input->enough_bytes) &&
         !pw_log_is_within_line(stream);
}

int pw_tail_read(struct pw_log_stream *stream, const struct pw_plan *plan, int fd, uint64_t offset, uint64_t until,
                 const struct pw_tail_input *input, int flags, int64_t now_ns, int32_t *at_end,
                 struct pw_log_batch *batch)
{
  int error = PW_OK, is_stuck = 0;
  *at_end = 0;
  pw_log_begin(batch);
  while (!error && !*at_end && !is_stuck && !batch->full && !is_enough(stream, input, batch)) {
    uint64_t from = offset + batch->consumed;
    if (from >= until)
      break;
    size_t wanted = least(input->capacity, until - from);
    ssize_t got = read_at(fd, input->at, wanted, from);
    if (got < 0) /* told by the next call, if this one has something to give */
      return batch->consumed ? PW_OK : PW_E_SYSCALL;
    int is_end = (size_t)got < wanted;
    error = pw_log_more(stream, plan, input->at, (size_t)got, from, is_end ? flags : flags & ~PW_LOG_END, now_ns,
                        input->enough_bytes, batch);
    *at_end = is_end && !batch->full;
    is_stuck = from == offset + batch->consumed; /* `until` is in the middle of a line */
  }
  return error;
}

int pw_tail_has_writer(int fd)
{
  /* A read lease is granted only while nobody has the file open for writing. The
   * signal of a broken lease would by default be SIGIO, which ends the process;
   * SIGURG is ignored unless somebody asks for it. */
  if (fcntl(fd, F_SETSIG, SIGURG) < 0)
    return -1;
  if (fcntl(fd, F_SETLEASE, F_RDLCK) < 0)
    return errno == EAGAIN ? 1 : -1;
  (void)fcntl(fd, F_SETLEASE, F_UNLCK);
  return 0;
}
