#include "community_id.h"

#include <string.h>

enum { BLOCK_BYTES = 64, ROUNDS = 80, ICMP = 1, ICMPV6 = 58 };

static uint32_t rotated(uint32_t value, unsigned bits)
{
  return value << bits | value >> (32 - bits);
}

static void put_be32(uint8_t *out, uint32_t value)
{
  for (int at = 3; at >= 0; at--, value >>= 8)
    out[at] = (uint8_t)value;
}

/* FIPS 180-4, 6.1.2. */
static void expand(const uint8_t block[BLOCK_BYTES], uint32_t words[ROUNDS])
{
  for (int t = 0; t < 16; t++)
    words[t] = (uint32_t)block[4 * t] << 24 | (uint32_t)block[4 * t + 1] << 16 | (uint32_t)block[4 * t + 2] << 8 |
               block[4 * t + 3];
  for (int t = 16; t < ROUNDS; t++)
    words[t] = rotated(words[t - 3] ^ words[t - 8] ^ words[t - 14] ^ words[t - 16], 1);
}

/* Twenty rounds with one function and constant. */
#define TWENTY_ROUNDS(from, function, constant) \
  for (int t = from; t < from + 20; t++) { \
    const uint32_t next = rotated(a, 5) + (function) + e + (constant) + words[t]; \
    e = d; \
    d = c; \
    c = rotated(b, 30); \
    b = a; \
    a = next; \
  }

void pw_sha1_short(const uint8_t *bytes, size_t length, uint8_t digest[PW_SHA1_BYTES])
{
  static const uint32_t initial[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
  uint8_t block[BLOCK_BYTES] = {0};
  uint32_t words[ROUNDS];
  uint32_t a = initial[0], b = initial[1], c = initial[2], d = initial[3], e = initial[4];
  memcpy(block, bytes, length);
  block[length] = 0x80;
  put_be32(block + BLOCK_BYTES - 4, (uint32_t)length * 8);
  expand(block, words);
  TWENTY_ROUNDS(0, (b & c) | (~b & d), 0x5a827999)
  TWENTY_ROUNDS(20, b ^ c ^ d, 0x6ed9eba1)
  TWENTY_ROUNDS(40, (b & c) | (b & d) | (c & d), 0x8f1bbcdc)
  TWENTY_ROUNDS(60, b ^ c ^ d, 0xca62c1d6)
  const uint32_t sums[5] = {initial[0] + a, initial[1] + b, initial[2] + c, initial[3] + d, initial[4] + e};
  for (int at = 0; at < 5; at++)
    put_be32(digest + 4 * at, sums[at]);
}

static void put_base64(char *out, const uint8_t digest[PW_SHA1_BYTES])
{
  static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (int at = 0; at < PW_SHA1_BYTES; at += 3, out += 4) {
    const int is_last = at + 3 > PW_SHA1_BYTES;
    const uint32_t bits = (uint32_t)digest[at] << 16 | (uint32_t)digest[at + 1] << 8 | (is_last ? 0 : digest[at + 2]);
    out[0] = letters[bits >> 18];
    out[1] = letters[bits >> 12 & 63];
    out[2] = letters[bits >> 6 & 63];
    out[3] = is_last ? '=' : letters[bits & 63];
  }
}

/* The type of the answer to an ICMP message of this type, -1 where none is expected: then the flow has one
 * direction, and its second "port" is the code. */
static int answer_to(uint8_t protocol, uint16_t type)
{
  static const uint8_t pairs[2][6][2] = {{{0, 8}, {9, 10}, {13, 14}, {15, 16}, {17, 18}, {0, 8}},
                                         {{128, 129}, {130, 131}, {133, 134}, {135, 136}, {139, 140}, {144, 145}}};
  const uint8_t(*of)[2] = pairs[protocol == ICMPV6];
  for (int at = 0; at < 6; at++) {
    if (of[at][0] == type)
      return of[at][1];
    if (of[at][1] == type)
      return of[at][0];
  }
  return -1;
}

static int is_ordered(const struct pw_tuple *tuple)
{
  const int order = memcmp(tuple->source_address, tuple->destination_address, tuple->address_bytes);
  return order < 0 || (order == 0 && tuple->source_port < tuple->destination_port);
}

static struct pw_tuple turned(const struct pw_tuple *tuple)
{
  return (struct pw_tuple){.source_address = tuple->destination_address,
                           .destination_address = tuple->source_address,
                           .source_port = tuple->destination_port,
                           .destination_port = tuple->source_port,
                           .address_bytes = tuple->address_bytes,
                           .protocol = tuple->protocol};
}

void pw_community_id(const struct pw_tuple *tuple, uint16_t seed, char id[PW_COMMUNITY_ID_BYTES])
{
  struct pw_tuple hashed = *tuple;
  int is_one_way = 0;
  if (tuple->protocol == ICMP || tuple->protocol == ICMPV6) {
    const int answer = answer_to(tuple->protocol, tuple->source_port);
    is_one_way = answer < 0;
    if (!is_one_way)
      hashed.destination_port = (uint16_t)answer;
  }
  if (!is_one_way && !is_ordered(&hashed))
    hashed = turned(&hashed);
  uint8_t text[PW_SHA1_SHORT_BYTES], *end = text, digest[PW_SHA1_BYTES];
  *end++ = (uint8_t)(seed >> 8);
  *end++ = (uint8_t)seed;
  memcpy(end, hashed.source_address, hashed.address_bytes);
  end += hashed.address_bytes;
  memcpy(end, hashed.destination_address, hashed.address_bytes);
  end += hashed.address_bytes;
  *end++ = hashed.protocol;
  *end++ = 0;
  put_be32(end, (uint32_t)hashed.source_port << 16 | hashed.destination_port);
  pw_sha1_short(text, (size_t)(end + 4 - text), digest);
  id[0] = '1';
  id[1] = ':';
  put_base64(id + 2, digest);
}
