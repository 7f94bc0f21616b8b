#include "json.h"

/* What a function of one kind of vectors is called where this build has none of it. */
#ifndef PW_HAS_VECTORS_16
#define pw_json_object_16 pw_json_object_plain
#endif
#ifndef PW_HAS_VECTORS_32
#define pw_json_object_32 pw_json_object_16
#endif

int32_t pw_vectors(void)
{
#ifdef PW_HAS_VECTORS_32
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi"))
    return PW_VECTORS_32;
#endif
#ifdef PW_HAS_VECTORS_16
  return PW_VECTORS_16;
#else
  return PW_VECTORS_NONE;
#endif
}

int64_t pw_json_object(const struct pw_json_input *input, uint8_t *out, size_t *out_bytes)
{
  switch (input->vectors) {
  case PW_VECTORS_32:
    return pw_json_object_32(input, out, out_bytes);
  case PW_VECTORS_16:
    return pw_json_object_16(input, out, out_bytes);
  default:
    return pw_json_object_plain(input, out, out_bytes);
  }
}

int64_t pw_json_pairs(const uint8_t *text, size_t bytes, int trim, int32_t vectors, uint8_t *out,
                      size_t *out_bytes)
{
  struct pw_json_input input = {.text = text, .bytes = bytes, .readable_bytes = bytes, .vectors = vectors,
                                .trim = trim};
  return pw_json_object(&input, out, out_bytes);
}

/* `0e0,` becomes nine bytes; besides that the room that an escaped string is decoded
 * behind, and what a copy in words of 32 bytes may write too much. */
size_t pw_json_bytes(size_t bytes)
{
  return bytes / 4 * 9 + 64;
}
