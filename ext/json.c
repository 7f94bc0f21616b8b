#include "json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "msgpack.h"

#if defined(__SSE2__) && !defined(PW_PLAIN_C)
#include <emmintrin.h>
#endif

/* The longest header of a str: an escaped one is decoded behind room for it. */
#define STR_HEAD_BYTES 5

struct level {
  uint8_t *head;   /* one byte, for the header; widened when the level closes */
  size_t count;
  int is_map;
};

struct parser {
  const struct pw_json_input *input;
  const uint8_t *at;
  const uint8_t *end;
  const uint8_t *readable_end;
  uint8_t *out;
  int depth;       /* 0: in the object itself */
  struct level levels[PW_JSON_DEPTH];
};

static inline int is_digit(uint8_t byte)
{
  return (uint8_t)(byte - '0') < 10;
}

static inline int is_plain(uint8_t byte)
{
  return byte >= 0x20 && byte != '"' && byte != '\\';
}

static const uint8_t *plain_run_bytewise(const uint8_t *at, const uint8_t *end)
{
  while (at < end && is_plain(*at))
    at++;
  return at;
}

#if defined(__SSE2__) && !defined(PW_PLAIN_C)

/* Bit i: byte i ends a run of plain characters. */
static inline unsigned special_mask(__m128i bytes)
{
  __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
  __m128i escape = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
  __m128i control = _mm_cmpeq_epi8(_mm_max_epu8(bytes, _mm_set1_epi8(0x1f)), _mm_set1_epi8(0x1f));
  return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, escape), control));
}

/* A string of less than 16 plain characters, which most keys and values are: one look
 * finds its end and one store writes it. Returns 0 when it is none; nothing is done then. */
static inline int short_string(struct parser *p)
{
  if (p->readable_end - p->at < 16)
    return 0;
  __m128i bytes = _mm_loadu_si128((const __m128i *)p->at);
  unsigned mask = special_mask(bytes);
  if (!mask)
    return 0;
  unsigned length = (unsigned)__builtin_ctz(mask);
  if (p->at[length] != '"' || p->at + length >= p->end)
    return 0;
  p->out[0] = (uint8_t)(0xa0 | length);
  _mm_storeu_si128((__m128i *)(p->out + 1), bytes);
  p->out += 1 + length;
  p->at += length + 1;
  return 1;
}

/* The end of the run of plain characters that starts at `at`; maybe beyond `end`. */
static inline const uint8_t *plain_run(const struct parser *p, const uint8_t *at)
{
  for (; p->readable_end - at >= 16; at += 16) {
    unsigned mask = special_mask(_mm_loadu_si128((const __m128i *)at));
    if (mask)
      return at + __builtin_ctz(mask);
    if (at >= p->end)
      return at;
  }
  return plain_run_bytewise(at, p->end);
}

#else

static inline int short_string(struct parser *p)
{
  (void)p;
  return 0;
}

static inline uint64_t any_byte_below(uint64_t word, uint8_t bound)
{
  const uint64_t ones = 0x0101010101010101u;
  return (word - ones * bound) & ~word & ones << 7;
}

static inline const uint8_t *plain_run(const struct parser *p, const uint8_t *at)
{
  const uint64_t ones = 0x0101010101010101u;
  for (; p->end - at >= 8; at += 8) {
    uint64_t word;
    memcpy(&word, at, 8);
    if (any_byte_below(word, 0x20) | any_byte_below(word ^ ones * '"', 1) |
        any_byte_below(word ^ ones * '\\', 1))
      break;
  }
  return plain_run_bytewise(at, p->end);
}

#endif

static inline void skip_space(struct parser *p)
{
  while (p->at < p->end && *p->at <= ' ' &&
         (*p->at == ' ' || *p->at == '\n' || *p->at == '\t' || *p->at == '\r'))
    p->at++;
}

static inline int take(struct parser *p, uint8_t wanted)
{
  if (p->at >= p->end || *p->at != wanted)
    return 0;
  p->at++;
  return 1;
}

static int hex4(const uint8_t *at, const uint8_t *end, uint32_t *value)
{
  if (end - at < 4)
    return 0;
  *value = 0;
  for (int i = 0; i < 4; i++) {
    uint8_t letter = at[i] | 0x20;
    uint32_t digit;
    if (is_digit(at[i]))
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

/* `at` is behind the backslash. As unicode_escape(). */
static const uint8_t *escape(const uint8_t *at, const uint8_t *end, uint8_t **out)
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

/* What Fluent Bit's Merge_Log_Trim leaves of a string: newlines at the end go, and
 * so do the two characters `\n` or `\r`; a newline that comes first stays
 * (value_trim_size() in plugins/filter_kubernetes/kubernetes.c). */
static size_t trimmed(const uint8_t *body, size_t bytes)
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

/* A string with escapes: p->at is behind the quote, the first escape at `run_end`. */
static int escaped_string(struct parser *p, const uint8_t *run_end, int trim)
{
  uint8_t *body = p->out + STR_HEAD_BYTES;
  uint8_t *out = body;
  const uint8_t *at = p->at;
  for (;;) {
    out = pw_put_bytes(out, at, (size_t)(run_end - at));
    at = run_end;
    if (at >= p->end || *at < 0x20)
      return 0;
    if (*at == '"')
      break;
    at = escape(at + 1, p->end, &out);
    if (!at)
      return 0;
    run_end = plain_run(p, at);
    if (run_end > p->end)
      return 0;
  }
  size_t bytes = (size_t)(out - body);
  if (trim)
    bytes = trimmed(body, bytes);
  p->out = pw_put_str_head(p->out, bytes);
  memmove(p->out, body, bytes);
  p->out += bytes;
  p->at = at + 1;
  return 1;
}

/* p->at is behind the quote. A string without escapes has nothing to trim. */
static inline int string(struct parser *p, int trim)
{
  if (short_string(p))
    return 1;
  const uint8_t *run_end = plain_run(p, p->at);
  if (run_end >= p->end)
    return 0;
  if (*run_end != '"')
    return escaped_string(p, run_end, trim);
  size_t bytes = (size_t)(run_end - p->at);
  p->out = pw_put_str_head(p->out, bytes);
  p->out = pw_put_bytes(p->out, p->at, bytes);
  p->at = run_end + 1;
  return 1;
}

static inline void note_key(struct parser *p, const uint8_t *packed)
{
  size_t bytes = (size_t)(p->out - packed);
  for (size_t i = 0; i < p->input->watch_count; i++) {
    const struct pw_text *watch = &p->input->watches[i];
    if (watch->bytes == bytes && memcmp(watch->at, packed, bytes) == 0)
      p->input->seen[i] = 1;
  }
}

static int key(struct parser *p)
{
  uint8_t *packed = p->out;
  if (!take(p, '"') || !string(p, 0))
    return 0;
  if (p->depth == 0)
    note_key(p, packed);
  skip_space(p);
  return take(p, ':');
}

/* Digits as far as 64 bits hold them exactly; the rest is only counted. */
struct decimal {
  uint64_t digits;
  int exponent;    /* of ten */
  int exact;
};

static const uint8_t *digits(const uint8_t *at, const uint8_t *end, struct decimal *number, int fraction)
{
  const uint8_t *start = at;
  uint64_t value = number->digits;
  unsigned digit;
  for (; at < end && (digit = (unsigned)*at - '0') < 10 && value < UINT64_MAX / 10; at++)
    value = value * 10 + digit;
  if (at < end && is_digit(*at) && value == UINT64_MAX / 10 && *at - '0' <= (int)(UINT64_MAX % 10))
    value = value * 10 + (*at++ - '0');
  number->digits = value;
  number->exponent -= fraction ? (int)(at - start) : 0;
  for (; at < end && is_digit(*at); at++)
    number->exact = 0;
  return at;
}

static const uint8_t *exponent(const uint8_t *at, const uint8_t *end, struct decimal *number)
{
  int negative = 0, value = 0;
  if (at < end && (*at == '+' || *at == '-'))
    negative = *at++ == '-';
  if (at >= end || !is_digit(*at))
    return NULL;
  for (; at < end && is_digit(*at); at++)
    if (value < 100000)
      value = value * 10 + (*at - '0');
  number->exponent += negative ? -value : value;
  return at;
}

/* Up to 2^53 and 10^22 are exact as float64, so one operation rounds rightly. All
 * else is strtod's: it stops at `end` by itself, as no number goes on there. */
static int put_float(struct parser *p, const uint8_t *start, const uint8_t *end,
                     const struct decimal *number, int negative)
{
  static const double TENS[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
  double value;
  if (number->exact && number->digits <= (uint64_t)1 << 53 && number->exponent >= -22 &&
      number->exponent <= 22) {
    value = (double)number->digits;
    value = number->exponent < 0 ? value / TENS[-number->exponent] : value * TENS[number->exponent];
    value = negative ? -value : value;
  } else {
    char *stopped;
    value = strtod((const char *)start, &stopped);
    if ((const uint8_t *)stopped != end || isinf(value))
      return 0;
  }
  p->out = pw_put_double(p->out, value);
  p->at = end;
  return 1;
}

static int number(struct parser *p)
{
  const uint8_t *start = p->at;
  const uint8_t *at = start;
  struct decimal number = {.exact = 1};
  int negative = *at == '-';
  int integer = 1;
  at += negative;
  if (at >= p->end || !is_digit(*at))
    return 0;
  at = *at == '0' ? at + 1 : digits(at, p->end, &number, 0);
  if (at < p->end && *at == '.') {
    const uint8_t *fraction = at + 1;
    integer = 0;
    at = digits(fraction, p->end, &number, 1);
    if (at == fraction)
      return 0;
  }
  if (at < p->end && (*at | 0x20) == 'e') {
    integer = 0;
    at = exponent(at + 1, p->end, &number);
  }
  if (!at || at >= p->end)
    return 0;
  if (!integer || !number.exact || (negative && number.digits > (uint64_t)1 << 63))
    return put_float(p, start, at, &number, negative);
  p->out = negative ? pw_put_int(p->out, (int64_t)-number.digits) : pw_put_uint(p->out, number.digits);
  p->at = at;
  return 1;
}

static int literal(struct parser *p, const char *text, size_t bytes, uint8_t packed)
{
  if ((size_t)(p->end - p->at) < bytes || memcmp(p->at, text, bytes) != 0)
    return 0;
  p->at += bytes;
  p->out = pw_put_byte(p->out, packed);
  return 1;
}

static int open_level(struct parser *p, int is_map)
{
  if (p->depth + 1 >= PW_JSON_DEPTH)
    return 0;
  p->depth++;
  p->levels[p->depth] = (struct level){.head = p->out, .is_map = is_map};
  p->out++;
  p->at++;
  return 1;
}

static void close_level(struct parser *p)
{
  struct level *level = &p->levels[p->depth];
  size_t more = pw_count_head_bytes(level->count) - 1;
  if (more) {
    memmove(level->head + 1 + more, level->head + 1, (size_t)(p->out - level->head - 1));
    p->out += more;
  }
  if (level->is_map)
    pw_put_map_head(level->head, level->count);
  else
    pw_put_array_head(level->head, level->count);
  p->depth--;
}

static int scalar(struct parser *p)
{
  switch (*p->at) {
  case '"':
    p->at++;
    return string(p, p->depth == 0 && p->input->trim);
  case 't':
    return literal(p, "true", 4, 0xc3);
  case 'f':
    return literal(p, "false", 5, 0xc2);
  case 'n':
    return literal(p, "null", 4, 0xc0);
  default:
    return number(p);
  }
}

/* A key and a value, or a value; of a map or an array only its opening. */
static int item(struct parser *p)
{
  if (p->levels[p->depth].is_map && !key(p))
    return 0;
  skip_space(p);
  if (p->at >= p->end)
    return 0;
  p->levels[p->depth].count++;
  if (*p->at == '{' || *p->at == '[')
    return open_level(p, *p->at == '{');
  return scalar(p);
}

/* Closes what is closed here. 1: an item follows, 0: the object is complete, -1: neither. */
static int after_item(struct parser *p)
{
  for (;;) {
    struct level *level = &p->levels[p->depth];
    skip_space(p);
    if (take(p, level->is_map ? '}' : ']')) {
      if (p->depth == 0)
        return 0;
      close_level(p);
      continue;
    }
    if (level->count && !take(p, ','))
      return -1;
    skip_space(p);
    return 1;
  }
}

static int object(struct parser *p)
{
  int more;
  skip_space(p);
  if (!take(p, '{'))
    return 0;
  while ((more = after_item(p)) == 1)
    if (!item(p))
      return 0;
  skip_space(p);
  return more == 0 && p->at == p->end;
}

int64_t pw_json_object(const struct pw_json_input *input, uint8_t *out, size_t *out_bytes)
{
  struct parser p;
  p.input = input;
  p.at = input->text;
  p.end = input->text + input->bytes;
  p.readable_end = input->text + input->readable_bytes;
  p.out = out;
  p.depth = 0;
  p.levels[0] = (struct level){.is_map = 1};
  if (!object(&p))
    return -1;
  *out_bytes = (size_t)(p.out - out);
  return (int64_t)p.levels[0].count;
}

int64_t pw_json_pairs(const uint8_t *text, size_t bytes, int trim, uint8_t *out, size_t *out_bytes)
{
  struct pw_json_input input = {.text = text, .bytes = bytes, .readable_bytes = bytes, .trim = trim};
  return pw_json_object(&input, out, out_bytes);
}

/* `0e0,` becomes nine bytes; besides that the room that an escaped string is decoded
 * behind, and what a copy in words of 16 bytes may write too much. */
size_t pw_json_bytes(size_t bytes)
{
  return bytes / 4 * 9 + 64;
}
