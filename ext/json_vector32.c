/* With AVX2, which most x86-64 have: a string of up to 31 characters is one look and one store. */
#include "json.h"

#ifdef PW_HAS_VECTORS_32

#pragma GCC target("avx2,bmi")
#include <immintrin.h>

#define JSON_OBJECT pw_json_object_32
#define VECTOR_BYTES 32

/* The first of 32 bytes that ends a run of plain characters; 32: none does. */
static inline unsigned first_special(const uint8_t *at)
{
  __m256i bytes = _mm256_loadu_si256((const __m256i *)at);
  __m256i quote = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('"'));
  __m256i escape = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('\\'));
  __m256i bound = _mm256_set1_epi8(0x1f);
  __m256i control = _mm256_cmpeq_epi8(_mm256_max_epu8(bytes, bound), bound);
  return _tzcnt_u32((unsigned)_mm256_movemask_epi8(_mm256_or_si256(_mm256_or_si256(quote, escape), control)));
}

static inline void copy_vector(uint8_t *to, const uint8_t *from)
{
  _mm256_storeu_si256((__m256i *)to, _mm256_loadu_si256((const __m256i *)from));
}

#include "json_parse.h"

#endif
