#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "dns.h"

/* All that the encoder asks of a message: each name as text, each answer's bytes. */
static int read_names(const struct pw_dns_message *message)
{
  char text[PW_DNS_NAME_BYTES];
  uint32_t text_bytes;
  for (uint16_t at = 0; at < message->kept; at++) {
    const struct pw_dns_answer *answer = &message->answers[at];
    const uint32_t behind = pw_dns_name(message->bytes, message->length, answer->name_at, text, &text_bytes);
    if (behind == 0 || text_bytes == 0 || text_bytes > sizeof text)
      return 1;
    if (answer->data_at + (uint32_t)answer->data_bytes > message->length)
      return 1;
    /* what an answer names may be malformed; it is only read inside of the message */
    if (pw_dns_name(message->bytes, message->length, answer->data_at, text, &text_bytes) > message->length)
      return 1;
  }
  return message->question_at != 0 &&
         pw_dns_name(message->bytes, message->length, message->question_at, text, &text_bytes) == 0;
}

/* The first byte says whether the packet was longer than what was kept of it. */
int fuzz_target(const uint8_t *input, size_t bytes)
{
  struct pw_dns_message message;
  if (bytes == 0)
    return 0;
  uint8_t *packet = malloc(bytes); /* of its own, so that the sanitizer sees a byte before and behind it */
  memcpy(packet, input + 1, bytes - 1);
  packet = realloc(packet, bytes - 1 ? bytes - 1 : 1);
  const int is_cut = input[0] & 1;
  int broke = 0;
  if (pw_dns_parse(packet, (uint32_t)(bytes - 1), is_cut, &message))
    broke = message.kept > PW_DNS_ANSWERS || read_names(&message);
  free(packet);
  return broke;
}
