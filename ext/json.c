#include "json.h"

#include <string.h>

#include "json_number.h"
#include "msgpack.h"

#if defined(__SSE2__) && !defined(PW_PLAIN_C)
#include <emmintrin.h>
#endif

/* What every key and value goes through; a call would cost as much as the work. */
#define HOT static inline __attribute__((always_inline))
#define COLD static __attribute__((noinline))

/* The longest header of a str: an escaped one is decoded behind room for it. */
#define STR_HEAD_BYTES 5

/* Up to here a loop of vectors is faster than a call of memcpy(). */
#define FEW_BYTES 96

struct level {
  uint8_t *head;   /* one byte, for the header; widened when the level closes */
  size_t count;
  int is_map;
};

struct parser {
  const struct pw_json_input *input;
  const uint8_t *end;
  const uint8_t *readable_end;
};

/* Where the text is read and the msgpack written. Passed and returned by value, so that
 * both stay in registers. at == NULL: the text is no object. */
struct cursor {
  const uint8_t *at;
  uint8_t *out;
};

static const struct cursor NOT_JSON = {NULL, NULL};

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

/* Copies in whole vectors: reads and writes up to 15 bytes too much. */
static inline void copy_over(uint8_t *to, const uint8_t *from, size_t bytes)
{
  for (size_t i = 0; i < bytes; i += 16)
    _mm_storeu_si128((__m128i *)(to + i), _mm_loadu_si128((const __m128i *)(from + i)));
}

/* A string of less than 16 plain characters, which most keys and values are: one look
 * finds its end and one store writes it. at == NULL when it is none. */
HOT struct cursor short_string(const struct parser *p, struct cursor c)
{
  if (p->readable_end - c.at < 16)
    return NOT_JSON;
  __m128i bytes = _mm_loadu_si128((const __m128i *)c.at);
  unsigned mask = special_mask(bytes);
  unsigned length = (unsigned)__builtin_ctz(mask | 1u << 16);
  if (length == 16 || c.at[length] != '"' || c.at + length >= p->end)
    return NOT_JSON;
  *c.out = (uint8_t)(0xa0 | length);
  _mm_storeu_si128((__m128i *)(c.out + 1), bytes);
  return (struct cursor){c.at + length + 1, c.out + length + 1};
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

static inline void copy_over(uint8_t *to, const uint8_t *from, size_t bytes)
{
  memcpy(to, from, bytes);
}

HOT struct cursor short_string(const struct parser *p, struct cursor c)
{
  (void)p;
  (void)c;
  return NOT_JSON;
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

COLD const uint8_t *skip_spaces(const uint8_t *at, const uint8_t *end)
{
  while (at < end && (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r'))
    at++;
  return at;
}

HOT const uint8_t *skip_space(const struct parser *p, const uint8_t *at)
{
  return at < p->end && *at <= ' ' ? skip_spaces(at, p->end) : at;
}

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

/* A string with escapes: c.at is behind the quote, the first escape at `run_end`. */
static struct cursor escaped_string(const struct parser *p, struct cursor c, const uint8_t *run_end, int trim)
{
  uint8_t *body = c.out + STR_HEAD_BYTES;
  uint8_t *out = body;
  const uint8_t *at = c.at;
  for (;;) {
    out = pw_put_bytes(out, at, (size_t)(run_end - at));
    at = run_end;
    if (at >= p->end || *at < 0x20)
      return NOT_JSON;
    if (*at == '"')
      break;
    at = escape(at + 1, p->end, &out);
    if (!at)
      return NOT_JSON;
    run_end = plain_run(p, at);
    if (run_end > p->end)
      return NOT_JSON;
  }
  size_t bytes = (size_t)(out - body);
  if (trim)
    bytes = trimmed(body, bytes);
  out = pw_put_str_head(c.out, bytes);
  memmove(out, body, bytes);
  return (struct cursor){at + 1, out + bytes};
}

COLD struct cursor long_string(const struct parser *p, struct cursor c, int trim)
{
  const uint8_t *run_end = plain_run(p, c.at);
  if (run_end >= p->end)
    return NOT_JSON;
  if (*run_end != '"')
    return escaped_string(p, c, run_end, trim);
  size_t bytes = (size_t)(run_end - c.at);
  uint8_t *out = pw_put_str_head(c.out, bytes);
  if (bytes <= FEW_BYTES && p->readable_end - c.at >= FEW_BYTES + 16)
    copy_over(out, c.at, bytes);
  else
    memcpy(out, c.at, bytes);
  return (struct cursor){run_end + 1, out + bytes};
}

/* c.at is behind the quote. A string without escapes has nothing to trim. */
HOT struct cursor string(const struct parser *p, struct cursor c, int trim)
{
  struct cursor behind = short_string(p, c);
  return behind.at ? behind : long_string(p, c, trim);
}

COLD void note_key(const struct pw_json_input *input, const uint8_t *packed, size_t bytes)
{
  for (size_t i = 0; i < input->watch_count; i++)
    if (input->watches[i].bytes == bytes && memcmp(input->watches[i].at, packed, bytes) == 0)
      input->seen[i] = 1;
}

/* A key and its colon. */
HOT struct cursor key(const struct parser *p, struct cursor c, int is_watched)
{
  uint8_t *packed = c.out;
  if (c.at >= p->end || *c.at != '"')
    return NOT_JSON;
  c.at++;
  c = string(p, c, 0);
  if (!c.at)
    return NOT_JSON;
  if (is_watched)
    note_key(p->input, packed, (size_t)(c.out - packed));
  c.at = skip_space(p, c.at);
  if (c.at >= p->end || *c.at != ':')
    return NOT_JSON;
  c.at++;
  return c;
}

HOT struct cursor literal(const struct parser *p, struct cursor c, const char *text, size_t bytes,
                             uint8_t packed)
{
  if ((size_t)(p->end - c.at) < bytes || memcmp(c.at, text, bytes) != 0)
    return NOT_JSON;
  return (struct cursor){c.at + bytes, pw_put_byte(c.out, packed)};
}

HOT struct cursor scalar(const struct parser *p, struct cursor c, int trim)
{
  switch (*c.at) {
  case '"':
    c.at++;
    return string(p, c, trim);
  case 't':
    return literal(p, c, "true", 4, 0xc3);
  case 'f':
    return literal(p, c, "false", 5, 0xc2);
  case 'n':
    return literal(p, c, "null", 4, 0xc0);
  default:
    c.at = pw_json_number(c.at, p->end, &c.out);
    return c;
  }
}

/* Writes the header of a map or an array that ends at `out`. Returns the new end. */
static uint8_t *close_level(const struct level *level, uint8_t *out)
{
  size_t more = pw_count_head_bytes(level->count) - 1;
  if (more)
    memmove(level->head + 1 + more, level->head + 1, (size_t)(out - level->head - 1));
  if (level->is_map)
    pw_put_map_head(level->head, level->count);
  else
    pw_put_array_head(level->head, level->count);
  return out + more;
}

/* Closes what is closed at c.at, then takes a comma if one is due. *depth < 0: all is closed. */
HOT struct cursor next_item(const struct parser *p, struct cursor c, const struct level *levels,
                                      int *depth)
{
  for (;;) {
    const struct level *level = &levels[*depth];
    c.at = skip_space(p, c.at);
    if (c.at >= p->end)
      return NOT_JSON;
    if (*c.at == (level->is_map ? '}' : ']')) {
      c.at++;
      if (--*depth < 0)
        return c;
      c.out = close_level(level, c.out);
      continue;
    }
    if (level->count && *c.at++ != ',')
      return NOT_JSON;
    c.at = skip_space(p, c.at);
    return c;
  }
}

/* The pairs of the object whose brace is at c.at - 1. */
static struct cursor pairs(const struct parser *p, struct cursor c, size_t *count)
{
  struct level levels[PW_JSON_DEPTH];
  int depth = 0;
  levels[0] = (struct level){.is_map = 1};
  for (;;) {
    c = next_item(p, c, levels, &depth);
    if (depth < 0 || !c.at)
      break;
    struct level *level = &levels[depth];
    if (level->is_map) {
      c = key(p, c, depth == 0 && p->input->watch_count);
      if (!c.at)
        break;
      c.at = skip_space(p, c.at);
    }
    if (c.at >= p->end)
      return NOT_JSON;
    level->count++;
    if (*c.at != '{' && *c.at != '[') {
      c = scalar(p, c, depth == 0 && p->input->trim);
      if (!c.at)
        break;
      continue;
    }
    if (++depth == PW_JSON_DEPTH)
      return NOT_JSON;
    levels[depth] = (struct level){.head = c.out++, .is_map = *c.at++ == '{'};
  }
  *count = levels[0].count;
  return c;
}

int64_t pw_json_object(const struct pw_json_input *input, uint8_t *out, size_t *out_bytes)
{
  struct parser p = {input, input->text + input->bytes, input->text + input->readable_bytes};
  struct cursor c = {skip_space(&p, input->text), out};
  size_t count;
  if (c.at >= p.end || *c.at != '{')
    return -1;
  c.at++;
  c = pairs(&p, c, &count);
  if (!c.at || skip_space(&p, c.at) != p.end)
    return -1;
  *out_bytes = (size_t)(c.out - out);
  return (int64_t)count;
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
