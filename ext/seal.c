#include "seal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "openssl.h"

/* As in OpenSSL's bio.h and ssl.h. */
#define TYPE_SOURCE_SINK 0x0400
#define CTRL_FLUSH 11
#define ERROR_WANT_READ 2

/* A batch, the records' heads and tags (at most 256 for 16 KiB in any version of TLS), one more record. */
#define ROOM_BYTES(batch_bytes) ((batch_bytes) + (batch_bytes) / 64 + (20 << 10))

struct pw_seal {
  struct ssl_st *session;
  struct bio_st *bio;
  uint8_t *room;
  size_t room_bytes;
  size_t sealed;
  size_t sent;
  size_t batch_bytes;
  const char *reason;
};

static bool make_room(struct pw_seal *seal, size_t more)
{
  if (more <= seal->room_bytes - seal->sealed)
    return true;
  size_t wanted = seal->sealed + more;
  wanted = wanted < ROOM_BYTES(seal->batch_bytes) ? ROOM_BYTES(seal->batch_bytes) : wanted + wanted / 4;
  uint8_t *room = realloc(seal->room, wanted);
  if (!room)
    return false;
  seal->room = room;
  seal->room_bytes = wanted;
  return true;
}

static int gather(struct bio_st *bio, const char *record, int size)
{
  struct pw_seal *seal = pw_openssl.BIO_get_data(bio);
  if (size <= 0 || !make_room(seal, (size_t)size))
    return -1;
  memcpy(seal->room + seal->sealed, record, (size_t)size);
  seal->sealed += (size_t)size;
  return size;
}

static long control(struct bio_st *bio, int command, long number, void *pointer)
{
  (void)bio;
  (void)number;
  (void)pointer;
  return command == CTRL_FLUSH;
}

static int destroy(struct bio_st *bio)
{
  struct pw_seal *seal = pw_openssl.BIO_get_data(bio);
  free(seal->room);
  free(seal);
  return 1;
}

bool pw_seal_ready(const char *path)
{
  if (pw_openssl.gathering)
    return true;
  if (!pw_openssl_find(path))
    return false;
  struct bio_method_st *made =
    pw_openssl.BIO_meth_new(pw_openssl.BIO_get_new_index() | TYPE_SOURCE_SINK, "podwitness");
  if (!made)
    return false;
  pw_openssl.BIO_meth_set_write(made, gather);
  pw_openssl.BIO_meth_set_ctrl(made, control);
  pw_openssl.BIO_meth_set_destroy(made, destroy);
  pw_openssl.gathering = made;
  return true;
}

struct pw_seal *pw_seal_open(void *session, size_t batch_bytes)
{
  struct pw_seal *seal = calloc(1, sizeof *seal);
  struct bio_st *bio = seal ? pw_openssl.BIO_new(pw_openssl.gathering) : NULL;
  if (!bio) {
    free(seal);
    return NULL;
  }
  *seal = (struct pw_seal){.session = session, .bio = bio, .batch_bytes = batch_bytes};
  pw_openssl.BIO_set_data(bio, seal);
  pw_openssl.BIO_set_init(bio, 1);
  pw_openssl.BIO_up_ref(bio); /* one for the session, one for who closes */
  pw_openssl.SSL_set0_wbio(session, bio);
  return seal;
}

void pw_seal_close(struct pw_seal *seal)
{
  pw_openssl.BIO_free(seal->bio);
}

static int drain(struct pw_seal *seal, int fd)
{
  while (seal->sent < seal->sealed) {
    ssize_t count = send(fd, seal->room + seal->sent, seal->sealed - seal->sent, MSG_NOSIGNAL);
    if (count >= 0)
      seal->sent += (size_t)count;
    else if (errno != EINTR)
      return errno == EAGAIN ? PW_SEAL_ROOM : PW_SEAL_SYSCALL;
  }
  seal->sealed = seal->sent = 0;
  return PW_SEAL_DONE;
}

static int seal_some(struct pw_seal *seal, const uint8_t *bytes, size_t size, size_t *taken)
{
  size_t done = 0;
  pw_openssl.ERR_clear_error(); /* SSL_get_error() goes by the thread's last error */
  int result = pw_openssl.SSL_write_ex(seal->session, bytes, size, &done);
  if (result > 0) {
    *taken += done;
    return PW_SEAL_DONE;
  }
  if (pw_openssl.SSL_get_error(seal->session, result) == ERROR_WANT_READ)
    return PW_SEAL_RECEIVER;
  seal->reason = pw_openssl.ERR_reason_error_string(pw_openssl.ERR_get_error());
  pw_openssl.ERR_clear_error(); /* or Python would take it for its own */
  return PW_SEAL_BROKEN;
}

int pw_seal_send(struct pw_seal *seal, int fd, const uint8_t *bytes, size_t size, bool flush, size_t *taken)
{
  *taken = 0;
  for (;;) {
    size_t left = size - *taken;
    /* A batch of which the socket took a part goes first, or its room would have to grow. */
    if (seal->sent || pw_seal_pending(seal) >= seal->batch_bytes || (flush && !left)) {
      int waits = drain(seal, fd);
      if (waits != PW_SEAL_DONE)
        return waits;
    }
    if (!left)
      return PW_SEAL_DONE;
    int waits = seal_some(seal, bytes + *taken, left < seal->batch_bytes ? left : seal->batch_bytes, taken);
    if (waits != PW_SEAL_DONE)
      return waits;
  }
}

size_t pw_seal_pending(const struct pw_seal *seal)
{
  return seal->sealed - seal->sent;
}

const char *pw_seal_reason(const struct pw_seal *seal)
{
  return seal->reason;
}
