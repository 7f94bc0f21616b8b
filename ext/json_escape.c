#include "json_escape.h"

#include "msgpack.h"

static int hex4(const uint8_t *at, const uint8_t *end, uint32_t *value)
{
  if (end - at < 4)
    return 0;
  *value = 0;
  for (int i = 0; i < 4; i++) {
    uint8_t letter = at[i] | 0x20;
    uint32_t digit;
    if (at[i] >= '0' && at[i] <= '9')
      digit = at[i] - '0';
    else if (letter >= 'a' && letter <= 'f')
      digit = letter - 'a' + 10u;
    else
      return 0;
    *value = *value << 4 | digit;
  }
  return 1;
}

static uint8_t *put_utf8(uint8_t *out, uint32_t code)
{
  if (code < 0x80)
    return pw_put_byte(out, (uint8_t)code);
  if (code < 0x800) {
    out = pw_put_byte(out, (uint8_t)(0xc0 | code >> 6));
    return pw_put_byte(out, (uint8_t)(0x80 | (code & 0x3f)));
  }
  if (code < 0x10000) {
    out = pw_put_byte(out, (uint8_t)(0xe0 | code >> 12));
  } else {
    out = pw_put_byte(out, (uint8_t)(0xf0 | code >> 18));
    out = pw_put_byte(out, (uint8_t)(0x80 | (code >> 12 & 0x3f)));
  }
  out = pw_put_byte(out, (uint8_t)(0x80 | (code >> 6 & 0x3f)));
  return pw_put_byte(out, (uint8_t)(0x80 | (code & 0x3f)));
}

/* `at` is behind `\u`. Returns where the text goes on, NULL when it is no character. */
static const uint8_t *unicode_escape(const uint8_t *at, const uint8_t *end, uint8_t **out)
{
  uint32_t code, low;
  if (!hex4(at, end, &code) || (code >= 0xdc00 && code < 0xe000))
    return NULL;
  at += 4;
  if (code >= 0xd800 && code < 0xdc00) {
    if (end - at < 6 || at[0] != '\\' || at[1] != 'u' || !hex4(at + 2, end, &low) || low < 0xdc00 ||
        low >= 0xe000)
      return NULL;
    code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    at += 6;
  }
  *out = put_utf8(*out, code);
  return at;
}

const uint8_t *pw_json_escape(const uint8_t *at, const uint8_t *end, uint8_t **out)
{
  static const uint8_t MEANT[256] = {['"'] = '"', ['\\'] = '\\', ['/'] = '/', ['b'] = '\b',
                                     ['f'] = '\f', ['n'] = '\n', ['r'] = '\r', ['t'] = '\t'};
  if (at >= end)
    return NULL;
  if (*at == 'u')
    return unicode_escape(at + 1, end, out);
  if (!MEANT[*at])
    return NULL;
  *out = pw_put_byte(*out, MEANT[*at]);
  return at + 1;
}

size_t pw_json_trimmed(const uint8_t *body, size_t bytes)
{
  size_t i = bytes ? bytes - 1 : 0;
  while (i > 0) {
    if (body[i] == '\n') {
      bytes -= 1;
      i -= 1;
    } else if (body[i - 1] == '\\' && (body[i] == 'n' || body[i] == 'r')) {
      bytes -= 2;
      i -= i > 1 ? 2 : 1;
    } else {
      break;
    }
  }
  return bytes;
}
