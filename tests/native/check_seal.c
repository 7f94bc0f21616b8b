/* Sealing with a real OpenSSL: two sessions in one thread, over socket pairs. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "seal.h"

#define LIBRARY "libssl.so.3"
#define BATCH_BYTES (64 << 10)
#define BYTES (1 << 20)

/* Without certificates, which only TLS 1.2 has and only at no level of security at all. */
#define CIPHER "ADH-AES128-GCM-SHA256:@SECLEVEL=0"

static void *library;

#define CALL(returned, name, taken) ((returned(*) taken)dlsym(library, #name))

struct ends {
  void *context, *client, *server;
  int own, its;
};

static int open_ends(struct ends *ends)
{
  int pair[2];
  CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
  ends->own = pair[0];
  ends->its = pair[1];
  ends->context = CALL(void *, SSL_CTX_new, (void *))(CALL(void *, TLS_method, (void))());
  CHECK(CALL(int, SSL_CTX_set_cipher_list, (void *, const char *))(ends->context, CIPHER) == 1);
  CALL(long, SSL_CTX_ctrl, (void *, int, long, void *))(ends->context, 124, 0x0303, NULL); /* at most TLS 1.2 */
  CALL(long, SSL_CTX_ctrl, (void *, int, long, void *))(ends->context, 118, 1, NULL);      /* DH's own numbers */
  ends->client = CALL(void *, SSL_new, (void *))(ends->context);
  ends->server = CALL(void *, SSL_new, (void *))(ends->context);
  CALL(int, SSL_set_fd, (void *, int))(ends->client, ends->own);
  CALL(int, SSL_set_fd, (void *, int))(ends->server, ends->its);
  CALL(void, SSL_set_connect_state, (void *))(ends->client);
  CALL(void, SSL_set_accept_state, (void *))(ends->server);
  int left = 10, shaken = 0;
  while (!shaken && left--)
    shaken = (CALL(int, SSL_do_handshake, (void *))(ends->client) == 1) &
             (CALL(int, SSL_do_handshake, (void *))(ends->server) == 1);
  CHECK(shaken);
  return 0;
}

static void close_ends(struct ends *ends)
{
  CALL(void, SSL_free, (void *))(ends->client);
  CALL(void, SSL_free, (void *))(ends->server);
  CALL(void, SSL_CTX_free, (void *))(ends->context);
  close(ends->own);
  close(ends->its);
}

static size_t opened(struct ends *ends, uint8_t *into, size_t room)
{
  int (*read_some)(void *, void *, size_t, size_t *) = dlsym(library, "SSL_read_ex");
  size_t total = 0, count;
  while (total < room && read_some(ends->server, into + total, room - total, &count) == 1)
    total += count;
  return total;
}

static uint8_t *numbered(void)
{
  uint8_t *bytes = malloc(BYTES);
  for (size_t i = 0; bytes && i < BYTES; i++)
    bytes[i] = (uint8_t)(i * 31 >> 3);
  return bytes;
}

static int a_full_socket_is_waited_for_and_nothing_is_lost(void)
{
  struct ends ends;
  CHECK(open_ends(&ends) == 0);
  struct pw_seal *seal = pw_seal_open(ends.client, BATCH_BYTES);
  uint8_t *sent = numbered(), *came = malloc(BYTES);
  CHECK(seal && sent && came);
  size_t at = 0, taken, total = 0, waits = 0;
  for (;;) {
    int status = pw_seal_send(seal, ends.own, sent + at, BYTES - at, true, &taken);
    at += taken;
    CHECK(pw_seal_pending(seal) <= BATCH_BYTES + BATCH_BYTES / 64);
    total += opened(&ends, came + total, BYTES - total);
    if (status == PW_SEAL_DONE)
      break;
    CHECK(status == PW_SEAL_ROOM);
    waits++;
  }
  CHECK(waits > 0 && at == BYTES && total == BYTES && memcmp(sent, came, BYTES) == 0);
  CHECK(pw_seal_pending(seal) == 0);
  free(sent);
  free(came);
  pw_seal_close(seal);
  close_ends(&ends);
  return 0;
}

static int less_than_a_batch_waits_for_the_flush(void)
{
  struct ends ends;
  uint8_t came[16];
  size_t taken;
  CHECK(open_ends(&ends) == 0);
  struct pw_seal *seal = pw_seal_open(ends.client, BATCH_BYTES);
  CHECK(seal && pw_seal_send(seal, ends.own, (const uint8_t *)"some", 4, false, &taken) == PW_SEAL_DONE);
  CHECK(taken == 4 && pw_seal_pending(seal) > 4 && opened(&ends, came, sizeof came) == 0);
  CHECK(pw_seal_send(seal, ends.own, NULL, 0, true, &taken) == PW_SEAL_DONE && taken == 0);
  CHECK(pw_seal_pending(seal) == 0 && opened(&ends, came, sizeof came) == 4 && memcmp(came, "some", 4) == 0);
  close_ends(&ends); /* the session before the seal */
  pw_seal_close(seal);
  return 0;
}

static int what_fails_is_told_apart(void)
{
  struct ends ends;
  size_t taken;
  CHECK(open_ends(&ends) == 0);
  struct pw_seal *seal = pw_seal_open(ends.client, BATCH_BYTES);
  CHECK(seal && pw_seal_send(seal, -1, (const uint8_t *)"some", 4, true, &taken) == PW_SEAL_SYSCALL);
  CHECK(errno == EBADF && taken == 4);
  CALL(int, SSL_shutdown, (void *))(ends.client);
  CHECK(pw_seal_send(seal, ends.own, (const uint8_t *)"more", 4, true, &taken) == PW_SEAL_BROKEN);
  CHECK(taken == 0 && pw_seal_reason(seal) && strstr(pw_seal_reason(seal), "shutdown"));
  pw_seal_close(seal);
  close_ends(&ends);
  return 0;
}

int check_seal(void)
{
  CHECK(!pw_seal_ready("libssl-of-nowhere.so"));
  library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
  CHECK(library && pw_seal_ready(LIBRARY));
  CHECK(a_full_socket_is_waited_for_and_nothing_is_lost() == 0);
  CHECK(less_than_a_batch_waits_for_the_flush() == 0);
  CHECK(what_fails_is_told_apart() == 0);
  dlclose(library);
  return 0;
}
