#include "tail.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

int pw_tail_read(struct pw_log_stream *stream, const struct pw_plan *plan, int fd, uint64_t offset,
                 uint8_t *in, size_t in_capacity, int flags, int64_t now_ns, size_t *in_bytes,
                 struct pw_log_batch *batch)
{
  *in_bytes = 0;
  batch->out_bytes = batch->consumed = batch->records = 0;
  ssize_t got;
  do
    got = pread(fd, in, in_capacity, (off_t)offset);
  while (got < 0 && errno == EINTR);
  if (got < 0)
    return PW_E_SYSCALL;
  *in_bytes = (size_t)got;
  if (*in_bytes == in_capacity)
    flags &= ~PW_LOG_END;
  return pw_log_encode(stream, plan, in, *in_bytes, offset, flags, now_ns, batch);
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
