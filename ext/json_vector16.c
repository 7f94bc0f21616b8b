/* With the vectors that every x86-64 (SSE2) and every aarch64 (NEON) has. */
#include "json.h"

#ifdef PW_HAS_VECTORS_16

#define JSON_OBJECT pw_json_object_16
#define VECTOR_BYTES 16

#ifdef __SSE2__
#include <emmintrin.h>

/* The first of 16 bytes that ends a run of plain characters; 16: none does. */
static inline unsigned first_special(const uint8_t *at)
{
  __m128i bytes = _mm_loadu_si128((const __m128i *)at);
  __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
  __m128i escape = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
  __m128i control = _mm_cmpeq_epi8(_mm_max_epu8(bytes, _mm_set1_epi8(0x1f)), _mm_set1_epi8(0x1f));
  unsigned mask = (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, escape), control));
  return (unsigned)__builtin_ctz(mask | 1u << 16);
}

static inline void copy_vector(uint8_t *to, const uint8_t *from)
{
  _mm_storeu_si128((__m128i *)to, _mm_loadu_si128((const __m128i *)from));
}

#else
#include <arm_neon.h>

static inline unsigned first_special(const uint8_t *at)
{
  uint8x16_t bytes = vld1q_u8(at);
  uint8x16_t quote = vceqq_u8(bytes, vdupq_n_u8('"'));
  uint8x16_t escape = vceqq_u8(bytes, vdupq_n_u8('\\'));
  uint8x16_t special = vorrq_u8(vorrq_u8(quote, escape), vcltq_u8(bytes, vdupq_n_u8(0x20)));
  /* Four bits of each byte: what movemask is elsewhere. */
  uint64_t mask = vget_lane_u64(vreinterpret_u64_u8(vshrn_n_u16(vreinterpretq_u16_u8(special), 4)), 0);
  return mask ? (unsigned)__builtin_ctzll(mask) / 4 : 16;
}

static inline void copy_vector(uint8_t *to, const uint8_t *from)
{
  vst1q_u8(to, vld1q_u8(from));
}

#endif

#include "json_parse.h"

#endif
