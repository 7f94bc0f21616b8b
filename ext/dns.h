/* Internal. Messages of DNS (RFC 1035), which are hostile input: nothing is read outside the message, no name is
 * followed forwards. */
#ifndef PODWITNESS_DNS_H
#define PODWITNESS_DNS_H

#include <stddef.h>
#include <stdint.h>

#define PW_DNS_NAME_BYTES 1024 /* of a name as text: up to 254 bytes, each at most \DDD */
#define PW_DNS_ANSWERS 32      /* kept of one message */
#define PW_DNS_HEADER_BYTES 12

enum pw_dns_type { PW_DNS_A = 1, PW_DNS_NS = 2, PW_DNS_CNAME = 5, PW_DNS_PTR = 12, PW_DNS_MX = 15, PW_DNS_TXT = 16,
                   PW_DNS_AAAA = 28, PW_DNS_SRV = 33 };

struct pw_dns_answer { /* offsets into the message */
  uint16_t name_at;
  uint16_t type;
  uint16_t class_;
  uint16_t data_at;
  uint16_t data_bytes;
  uint16_t pad;
  uint32_t ttl_s;
};

struct pw_dns_message {
  const uint8_t *bytes;
  uint32_t length;
  uint16_t id;
  uint16_t flags;
  uint16_t question_count;
  uint16_t answer_count; /* as the header says */
  uint16_t question_type;
  uint16_t question_class;
  uint16_t question_at;  /* of the first question's name; 0: there is none */
  uint16_t kept;         /* of answers */
  struct pw_dns_answer answers[PW_DNS_ANSWERS];
};

static inline int pw_dns_is_answer(const struct pw_dns_message *message) { return message->flags >> 15; }
static inline unsigned pw_dns_code(const struct pw_dns_message *message) { return message->flags & 15; }

static inline int pw_dns_is_address(const struct pw_dns_answer *answer)
{
  return (answer->type == PW_DNS_A && answer->data_bytes == 4) ||
         (answer->type == PW_DNS_AAAA && answer->data_bytes == 16);
}

/* 1 if it is well-formed as far as it goes. `is_cut`: it was longer than `length`; then answers that are not
 * whole are left out. The message refers to `bytes`. */
int pw_dns_parse(const uint8_t *bytes, uint32_t length, int is_cut, struct pw_dns_message *message);

/* Writes a name as text: labels joined by dots, without one at the end ("." for the root); \. and \\ inside of
 * labels, \DDD for what is no visible letter. Returns the offset behind the name, 0 for one that is malformed. */
uint32_t pw_dns_name(const uint8_t *bytes, uint32_t length, uint32_t at, char text[PW_DNS_NAME_BYTES],
                     uint32_t *text_bytes);

#endif
