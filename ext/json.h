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

struct pw_json_input {
  const uint8_t *text;
  size_t bytes;
  size_t readable_bytes;        /* from text on, at least `bytes`: spares care at the end */
  int trim;                     /* values of the object: Fluent Bit's Merge_Log_Trim */
  const struct pw_text *watches; /* packed keys: seen[i] is set when the object has watches[i] */
  size_t watch_count;
  uint8_t *seen;
};

/* As pw_json_pairs() of log.h. `seen` may be set by a text that is no object. */
int64_t pw_json_object(const struct pw_json_input *input, uint8_t *out, size_t *out_bytes);

#endif
