/* Internal: one JSON object (RFC 8259, strictly) to the pairs of a msgpack map.
 *
 * Numbers: an integer that fits 64 bits is an int, every other number a float64;
 * one too large for that makes the text no object. Duplicate keys stay, in order.
 * Bytes of strings are not checked to be UTF-8; escapes become UTF-8, half a
 * surrogate pair makes the text no object. */
#ifndef PODWITNESS_JSON_H
#define PODWITNESS_JSON_H

#include "log.h"

/* Deeper is not taken for an object. The bound is what keeps hostile text cheap: a
 * header is widened by moving what is behind it, once for each level. */
#define PW_JSON_DEPTH 128

#if defined(__SSE2__) || (defined(__aarch64__) && defined(__ARM_NEON))
#define PW_HAS_VECTORS_16
#endif
/* Functions of one file for another processor than the rest: as GCC says it. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define PW_HAS_VECTORS_32
#endif

struct pw_json_input {
  const uint8_t *text;
  size_t bytes;
  size_t readable_bytes;        /* from text on, at least `bytes`: spares care at the end */
  int32_t vectors;              /* enum pw_vectors, as pw_vectors() gave it or less */
  int trim;                     /* values of the object: Fluent Bit's Merge_Log_Trim */
  const struct pw_text *watches; /* packed keys: seen[i] is set when the object has watches[i] */
  size_t watch_count;
  uint64_t watch_marks;         /* pw_json_marks() of the watches: most keys have another */
  uint8_t *seen;
};

/* One of 64 bits for a packed key, by its length and two of its characters. */
static inline uint64_t pw_json_mark(const uint8_t *packed, size_t bytes)
{
  return (uint64_t)1 << (bytes + packed[bytes / 2] + 4u * packed[bytes - 1]) % 64;
}

static inline uint64_t pw_json_marks(const struct pw_text *packed, size_t count)
{
  uint64_t marks = 0;
  for (size_t i = 0; i < count; i++)
    marks |= pw_json_mark(packed[i].at, packed[i].bytes);
  return marks;
}

/* Whether it is worth a try: most text that is none costs two looks. */
static inline int pw_may_be_object(const struct pw_text *text)
{
  return text->bytes >= 2 && (*text->at == '{' || *text->at <= ' ');
}

/* As pw_json_pairs() of log.h. `seen` may be set by a text that is no object. */
int64_t pw_json_object(const struct pw_json_input *input, uint8_t *out, size_t *out_bytes);

/* The same for each kind of vectors. */
int64_t pw_json_object_plain(const struct pw_json_input *input, uint8_t *out, size_t *out_bytes);
#ifdef PW_HAS_VECTORS_16
int64_t pw_json_object_16(const struct pw_json_input *input, uint8_t *out, size_t *out_bytes);
#endif
#ifdef PW_HAS_VECTORS_32
int64_t pw_json_object_32(const struct pw_json_input *input, uint8_t *out, size_t *out_bytes);
#endif

#endif
