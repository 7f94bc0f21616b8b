/* What a TLS session seals, gathered and sent from where it was gathered.
 *
 * OpenSSL's own memory BIO clears its room before each record, and Python copies out of it what is
 * to be sent: two passes over every byte. Sealing and sending go on here for a whole chunk without
 * the interpreter, whose lock is not held meanwhile. */
#ifndef PODWITNESS_SEAL_H
#define PODWITNESS_SEAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What pw_seal_send() has to wait for. */
#define PW_SEAL_DONE 0
#define PW_SEAL_ROOM 1     /* in the socket */
#define PW_SEAL_RECEIVER 2 /* who must speak first, as TLS 1.2 may want by asking for another handshake */
#define PW_SEAL_SYSCALL 3  /* nothing: sending failed; errno tells why */
#define PW_SEAL_BROKEN 4   /* nothing: OpenSSL refuses; pw_seal_reason() tells why */

struct pw_seal;

/* Finds OpenSSL in a library that is loaded already; false: there is no using it. */
bool pw_seal_ready(const char *path);

/* Puts a place to gather into a session (SSL *) in place of where its records went; NULL: out of memory.
 * To be closed; the session may end before or after that. About `batch_bytes` are sent in one call. */
struct pw_seal *pw_seal_open(void *session, size_t batch_bytes);
void pw_seal_close(struct pw_seal *seal);

/* Seals the bytes and sends a batch whenever there is one, at last what is left too if `flush`.
 * *taken of the bytes are sealed when it returns, and need not be given again. */
int pw_seal_send(struct pw_seal *seal, int fd, const uint8_t *bytes, size_t size, bool flush, size_t *taken);

/* What is sealed and not sent. */
size_t pw_seal_pending(const struct pw_seal *seal);

/* Of the last PW_SEAL_BROKEN; NULL: OpenSSL did not say. */
const char *pw_seal_reason(const struct pw_seal *seal);

#endif
