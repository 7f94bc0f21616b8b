#include "dns.h"

#include <string.h>

enum { NAME_MOST_BYTES = 255, POINTER = 0xc0, QUESTION_TAIL_BYTES = 4, RECORD_TAIL_BYTES = 10 };

static uint16_t read_16(const uint8_t *at)
{
  return (uint16_t)(at[0] << 8 | at[1]);
}

static char *put_letter(char *out, uint8_t letter)
{
  if (letter == '.' || letter == '\\') {
    *out++ = '\\';
    *out++ = (char)letter;
  } else if (letter > 32 && letter < 127) {
    *out++ = (char)letter;
  } else {
    *out++ = '\\';
    *out++ = (char)('0' + letter / 100);
    *out++ = (char)('0' + letter / 10 % 10);
    *out++ = (char)('0' + letter % 10);
  }
  return out;
}

/* A pointer leads to an earlier place than any before it, so this ends. */
uint32_t pw_dns_name(const uint8_t *bytes, uint32_t length, uint32_t at, char text[PW_DNS_NAME_BYTES],
                     uint32_t *text_bytes)
{
  uint32_t lowest = at, behind = 0, wire_bytes = 1;
  char *out = text;
  for (;;) {
    if (at >= length)
      return 0;
    const uint8_t size = bytes[at];
    if ((size & POINTER) == POINTER) {
      if (length - at < 2)
        return 0;
      const uint32_t target = read_16(bytes + at) & 0x3fff;
      behind = behind != 0 ? behind : at + 2;
      if (target >= lowest)
        return 0;
      lowest = at = target;
      continue;
    }
    if (size & POINTER || length - at - 1 < size)
      return 0;
    if (size == 0)
      break;
    wire_bytes += 1u + size;
    if (wire_bytes > NAME_MOST_BYTES)
      return 0;
    if (out != text)
      *out++ = '.';
    for (uint32_t letter = 0; letter < size; letter++)
      out = put_letter(out, bytes[at + 1 + letter]);
    at += 1u + size;
  }
  if (out == text)
    *out++ = '.';
  *text_bytes = (uint32_t)(out - text);
  return behind != 0 ? behind : at + 1;
}

/* 0: malformed, or cut. */
static uint32_t skip_question(struct pw_dns_message *message, uint32_t at)
{
  char text[PW_DNS_NAME_BYTES];
  uint32_t text_bytes;
  const uint32_t behind = pw_dns_name(message->bytes, message->length, at, text, &text_bytes);
  if (behind == 0 || message->length - behind < QUESTION_TAIL_BYTES)
    return 0;
  if (message->question_at == 0) {
    message->question_at = (uint16_t)at;
    message->question_type = read_16(message->bytes + behind);
    message->question_class = read_16(message->bytes + behind + 2);
  }
  return behind + QUESTION_TAIL_BYTES;
}

static uint32_t read_answer(const struct pw_dns_message *message, uint32_t at, struct pw_dns_answer *answer)
{
  char text[PW_DNS_NAME_BYTES];
  uint32_t text_bytes;
  const uint32_t behind = pw_dns_name(message->bytes, message->length, at, text, &text_bytes);
  if (behind == 0 || message->length - behind < RECORD_TAIL_BYTES)
    return 0;
  const uint8_t *tail = message->bytes + behind;
  *answer = (struct pw_dns_answer){.name_at = (uint16_t)at,
                                   .type = read_16(tail),
                                   .class_ = read_16(tail + 2),
                                   .ttl_s = (uint32_t)read_16(tail + 4) << 16 | read_16(tail + 6),
                                   .data_at = (uint16_t)(behind + RECORD_TAIL_BYTES),
                                   .data_bytes = read_16(tail + 8)};
  if (message->length - answer->data_at < answer->data_bytes)
    return 0;
  return answer->data_at + (uint32_t)answer->data_bytes;
}

int pw_dns_parse(const uint8_t *bytes, uint32_t length, int is_cut, struct pw_dns_message *message)
{
  uint32_t at = PW_DNS_HEADER_BYTES;
  memset(message, 0, sizeof *message);
  if (length < PW_DNS_HEADER_BYTES || length > UINT16_MAX)
    return 0;
  message->bytes = bytes;
  message->length = length;
  message->id = read_16(bytes);
  message->flags = read_16(bytes + 2);
  message->question_count = read_16(bytes + 4);
  message->answer_count = read_16(bytes + 6);
  for (uint32_t number = 0; number < message->question_count; number++)
    if ((at = skip_question(message, at)) == 0)
      return is_cut;
  while (message->kept < message->answer_count && message->kept < PW_DNS_ANSWERS) {
    if ((at = read_answer(message, at, &message->answers[message->kept])) == 0)
      return is_cut;
    message->kept++;
  }
  return 1;
}
