/* Internal: the OpenSSL that Python's ssl module has loaded, by the names of its functions.
 *
 * Sessions are made and configured by Python; what is done to them here must be done by the same
 * library. So nothing is linked with: a module with an OpenSSL of its own inside exports no
 * functions, and there is nothing to be mistaken about. */
#ifndef PODWITNESS_OPENSSL_H
#define PODWITNESS_OPENSSL_H

#include <stdbool.h>
#include <stddef.h>

struct ssl_st;
struct bio_st;
struct bio_method_st;

/* name, what it returns, what it takes: as in OpenSSL 3's ssl.h, bio.h and err.h. */
#define PW_OPENSSL(X) \
  X(SSL_write_ex, int, (struct ssl_st *, const void *, size_t, size_t *)) \
  X(SSL_get_error, int, (const struct ssl_st *, int)) \
  X(SSL_set0_wbio, void, (struct ssl_st *, struct bio_st *)) \
  X(BIO_get_new_index, int, (void)) \
  X(BIO_meth_new, struct bio_method_st *, (int, const char *)) \
  X(BIO_meth_set_write, int, (struct bio_method_st *, int (*)(struct bio_st *, const char *, int))) \
  X(BIO_meth_set_ctrl, int, (struct bio_method_st *, long (*)(struct bio_st *, int, long, void *))) \
  X(BIO_meth_set_destroy, int, (struct bio_method_st *, int (*)(struct bio_st *))) \
  X(BIO_new, struct bio_st *, (const struct bio_method_st *)) \
  X(BIO_set_init, void, (struct bio_st *, int)) \
  X(BIO_set_data, void, (struct bio_st *, void *)) \
  X(BIO_get_data, void *, (struct bio_st *)) \
  X(BIO_up_ref, int, (struct bio_st *)) \
  X(BIO_free, int, (struct bio_st *)) \
  X(ERR_clear_error, void, (void)) \
  X(ERR_get_error, unsigned long, (void)) \
  X(ERR_reason_error_string, const char *, (unsigned long))

#define PW_OPENSSL_MEMBER(name, returned, taken) returned(*name) taken;
struct pw_openssl {
  struct bio_method_st *gathering; /* what seal.c does with records; NULL until it is ready */
  PW_OPENSSL(PW_OPENSSL_MEMBER)
};
#undef PW_OPENSSL_MEMBER

/* The one thing that is kept between calls: OpenSSL calls back with a BIO and nothing else, and what
 * belongs to a BIO is had by a function of the library. Written once. */
extern struct pw_openssl pw_openssl;

/* Whether the library at `path`, which is loaded already, gives all of these. */
bool pw_openssl_find(const char *path);

#endif
