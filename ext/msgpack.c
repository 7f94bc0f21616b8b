#include "msgpack.h"

static uint64_t big_endian(const uint8_t *at, unsigned bytes)
{
  uint64_t value = 0;
  for (unsigned i = 0; i < bytes; i++)
    value = value << 8 | at[i];
  return value;
}

/* 0xc0 to 0xdf: how long the number after the first byte is (a length, a count or
 * the value itself), and what it means. */
enum meaning { NOTHING, LENGTH, EXT_LENGTH, VALUE, FIXED_EXT, ITEMS, PAIRS, INVALID };

static const struct { uint8_t bytes, meaning; } SHAPES[32] = {
  {0, NOTHING}, {0, INVALID}, {0, NOTHING}, {0, NOTHING},          /* nil, -, false, true */
  {1, LENGTH}, {2, LENGTH}, {4, LENGTH},                           /* bin */
  {1, EXT_LENGTH}, {2, EXT_LENGTH}, {4, EXT_LENGTH},
  {4, VALUE}, {8, VALUE},                                          /* float */
  {1, VALUE}, {2, VALUE}, {4, VALUE}, {8, VALUE},                  /* uint */
  {1, VALUE}, {2, VALUE}, {4, VALUE}, {8, VALUE},                  /* int */
  {1, FIXED_EXT}, {2, FIXED_EXT}, {4, FIXED_EXT}, {8, FIXED_EXT}, {16, FIXED_EXT},
  {1, LENGTH}, {2, LENGTH}, {4, LENGTH},                           /* str */
  {2, ITEMS}, {4, ITEMS}, {2, PAIRS}, {4, PAIRS},
};

static int long_head(const uint8_t *at, const uint8_t *end, struct pw_msgpack_head *head)
{
  uint8_t bytes = SHAPES[*at - 0xc0].bytes;
  uint8_t meaning = SHAPES[*at - 0xc0].meaning;
  if (meaning == INVALID)
    return 0;
  if (meaning == VALUE || meaning == FIXED_EXT) {
    head->body_bytes = bytes + (meaning == FIXED_EXT);
    return 1;
  }
  if ((size_t)(end - at - 1) < bytes)
    return 0;
  uint64_t number = big_endian(at + 1, bytes);
  head->head_bytes = (uint8_t)(1 + bytes);
  if (meaning == LENGTH || meaning == EXT_LENGTH)
    head->body_bytes = number + (meaning == EXT_LENGTH);
  if (meaning == ITEMS || meaning == PAIRS)
    head->items = meaning == PAIRS ? 2 * number : number;
  head->is_str = *at >= 0xd9 && *at <= 0xdb;
  head->is_map = meaning == PAIRS;
  return 1;
}

int pw_msgpack_head(const uint8_t *at, const uint8_t *end, struct pw_msgpack_head *head)
{
  if (at >= end)
    return 0;
  *head = (struct pw_msgpack_head){.head_bytes = 1};
  uint8_t first = *at;
  if (first < 0x80 || first >= 0xe0)
    return 1;
  if (first >= 0xc0)
    return long_head(at, end, head);
  if (first >= 0xa0) {
    head->is_str = 1;
    head->body_bytes = first & 0x1f;
  } else {
    head->is_map = first < 0x90;
    head->items = (uint64_t)(first & 0x0f) << head->is_map;
  }
  return 1;
}

const uint8_t *pw_msgpack_skip(const uint8_t *at, const uint8_t *end)
{
  struct pw_msgpack_head head;
  for (uint64_t left = 1; left > 0; left--) {
    if (!pw_msgpack_head(at, end, &head) || head.body_bytes > (size_t)(end - at - head.head_bytes))
      return NULL;
    at += head.head_bytes + head.body_bytes;
    left += head.items;
  }
  return at;
}
