/* Internal: the parser itself, compiled once for each kind of vectors.
 *
 * Who includes it has defined JSON_OBJECT, the name of the function that it makes, and,
 * where there are vectors, VECTOR_BYTES (up to 32: shorter strings have one byte of
 * header), first_special() and copy_vector(). So it has no guard. */
#include <string.h>

#include "json.h"
#include "json_escape.h"
#include "json_number.h"
#include "msgpack.h"

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

#ifdef VECTOR_BYTES

/* Copies in whole vectors: reads and writes up to VECTOR_BYTES - 1 too much. */
static inline void copy_over(uint8_t *to, const uint8_t *from, size_t bytes)
{
  for (size_t i = 0; i < bytes; i += VECTOR_BYTES)
    copy_vector(to + i, from + i);
}

/* A string of less plain characters than a vector has, which most keys and values are: one
 * look finds its end and one store writes it. at == NULL when it is none. */
HOT struct cursor short_string(const struct parser *p, struct cursor c)
{
  if (p->readable_end - c.at < VECTOR_BYTES)
    return NOT_JSON;
  unsigned length = first_special(c.at);
  if (length == VECTOR_BYTES || c.at[length] != '"' || c.at + length >= p->end)
    return NOT_JSON;
  *c.out = (uint8_t)(0xa0 | length);
  copy_vector(c.out + 1, c.at);
  return (struct cursor){c.at + length + 1, c.out + length + 1};
}

/* The end of the run of plain characters that starts at `at`; maybe beyond `end`. */
static inline const uint8_t *plain_run(const struct parser *p, const uint8_t *at)
{
  for (; p->readable_end - at >= VECTOR_BYTES; at += VECTOR_BYTES) {
    unsigned length = first_special(at);
    if (length < VECTOR_BYTES)
      return at + length;
    if (at >= p->end)
      return at;
  }
  return plain_run_bytewise(at, p->end);
}

#else

#define VECTOR_BYTES 0

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
    at = pw_json_escape(at + 1, p->end, &out);
    if (!at)
      return NOT_JSON;
    run_end = plain_run(p, at);
    if (run_end > p->end)
      return NOT_JSON;
  }
  size_t bytes = (size_t)(out - body);
  if (trim)
    bytes = pw_json_trimmed(body, bytes);
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
  if (bytes <= FEW_BYTES && p->readable_end - c.at >= FEW_BYTES + VECTOR_BYTES)
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
  size_t bytes = (size_t)(c.out - packed);
  if (is_watched && p->input->watch_marks & pw_json_mark(packed, bytes))
    note_key(p->input, packed, bytes);
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

int64_t JSON_OBJECT(const struct pw_json_input *input, uint8_t *out, size_t *out_bytes)
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
