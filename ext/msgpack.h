/* Internal: msgpack in its shortest form, as msgpack-c writes it. */
#ifndef PODWITNESS_MSGPACK_H
#define PODWITNESS_MSGPACK_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Each writes at `out` and returns where the next byte goes; at most 9 bytes. */

static inline uint8_t *pw_put_be16(uint8_t *out, uint8_t head, uint16_t value)
{
  out[0] = head;
  out[1] = (uint8_t)(value >> 8);
  out[2] = (uint8_t)value;
  return out + 3;
}

static inline uint8_t *pw_put_be32(uint8_t *out, uint8_t head, uint32_t value)
{
  uint32_t big_endian = __builtin_bswap32(value);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  big_endian = value;
#endif
  out[0] = head;
  memcpy(out + 1, &big_endian, 4);
  return out + 5;
}

static inline uint8_t *pw_put_be64(uint8_t *out, uint8_t head, uint64_t value)
{
  uint64_t big_endian = __builtin_bswap64(value);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  big_endian = value;
#endif
  out[0] = head;
  memcpy(out + 1, &big_endian, 8);
  return out + 9;
}

static inline uint8_t *pw_put_byte(uint8_t *out, uint8_t value)
{
  *out = value;
  return out + 1;
}

static inline uint8_t *pw_put_str_head(uint8_t *out, size_t bytes)
{
  if (bytes < 32)
    return pw_put_byte(out, (uint8_t)(0xa0 | bytes));
  if (bytes < 256) {
    out[0] = 0xd9;
    return pw_put_byte(out + 1, (uint8_t)bytes);
  }
  if (bytes < 65536)
    return pw_put_be16(out, 0xda, (uint16_t)bytes);
  return pw_put_be32(out, 0xdb, (uint32_t)bytes);
}

static inline size_t pw_str_head_bytes(size_t bytes)
{
  return bytes < 32 ? 1 : bytes < 256 ? 2 : bytes < 65536 ? 3 : 5;
}

static inline uint8_t *pw_put_map_head(uint8_t *out, size_t pairs)
{
  if (pairs < 16)
    return pw_put_byte(out, (uint8_t)(0x80 | pairs));
  if (pairs < 65536)
    return pw_put_be16(out, 0xde, (uint16_t)pairs);
  return pw_put_be32(out, 0xdf, (uint32_t)pairs);
}

static inline uint8_t *pw_put_array_head(uint8_t *out, size_t items)
{
  if (items < 16)
    return pw_put_byte(out, (uint8_t)(0x90 | items));
  if (items < 65536)
    return pw_put_be16(out, 0xdc, (uint16_t)items);
  return pw_put_be32(out, 0xdd, (uint32_t)items);
}

/* Of a map's or an array's header. */
static inline size_t pw_count_head_bytes(size_t count)
{
  return count < 16 ? 1 : count < 65536 ? 3 : 5;
}

static inline uint8_t *pw_put_uint(uint8_t *out, uint64_t value)
{
  if (value < 128)
    return pw_put_byte(out, (uint8_t)value);
  if (value < 256) {
    out[0] = 0xcc;
    return pw_put_byte(out + 1, (uint8_t)value);
  }
  if (value < 65536)
    return pw_put_be16(out, 0xcd, (uint16_t)value);
  if (value <= UINT32_MAX)
    return pw_put_be32(out, 0xce, (uint32_t)value);
  return pw_put_be64(out, 0xcf, value);
}

static inline uint8_t *pw_put_int(uint8_t *out, int64_t value)
{
  if (value >= 0)
    return pw_put_uint(out, (uint64_t)value);
  if (value >= -32)
    return pw_put_byte(out, (uint8_t)value);
  if (value >= INT8_MIN) {
    out[0] = 0xd0;
    return pw_put_byte(out + 1, (uint8_t)value);
  }
  if (value >= INT16_MIN)
    return pw_put_be16(out, 0xd1, (uint16_t)value);
  if (value >= INT32_MIN)
    return pw_put_be32(out, 0xd2, (uint32_t)value);
  return pw_put_be64(out, 0xd3, (uint64_t)value);
}

static inline uint8_t *pw_put_double(uint8_t *out, double value)
{
  uint64_t bits;
  memcpy(&bits, &value, 8);
  return pw_put_be64(out, 0xcb, bits);
}

static inline uint8_t *pw_put_bytes(uint8_t *out, const void *from, size_t bytes)
{
  memcpy(out, from, bytes);
  return out + bytes;
}

/* The same for what is mostly short: no call, two copies that may overlap. */
static inline uint8_t *pw_put_short(uint8_t *out, const void *from, size_t bytes)
{
  const uint8_t *at = from;
  if (bytes > 32) {
    memcpy(out, at, bytes);
  } else if (bytes >= 16) {
    memcpy(out, at, 16);
    memcpy(out + bytes - 16, at + bytes - 16, 16);
  } else if (bytes >= 8) {
    memcpy(out, at, 8);
    memcpy(out + bytes - 8, at + bytes - 8, 8);
  } else if (bytes >= 4) {
    memcpy(out, at, 4);
    memcpy(out + bytes - 4, at + bytes - 4, 4);
  } else {
    for (size_t i = 0; i < bytes; i++)
      out[i] = at[i];
  }
  return out + bytes;
}

/* [EventTime, ...: the head of an entry; the record follows. */
#define PW_ENTRY_HEAD_BYTES 11

static inline uint8_t *pw_put_entry_head(uint8_t *out, uint32_t seconds, uint32_t nanoseconds)
{
  out[0] = 0x92;
  out[1] = 0xd7;
  pw_put_be32(out + 2, 0x00, seconds);
  out[7] = (uint8_t)(nanoseconds >> 24);
  out[8] = (uint8_t)(nanoseconds >> 16);
  out[9] = (uint8_t)(nanoseconds >> 8);
  out[10] = (uint8_t)nanoseconds;
  return out + PW_ENTRY_HEAD_BYTES;
}

/* A header of msgpack: what follows it. */
struct pw_msgpack_head {
  uint64_t items;       /* values that follow inside: of a map two for each pair */
  uint64_t body_bytes;  /* bytes that follow: of a str, bin, ext or number */
  uint8_t head_bytes;
  uint8_t is_str;
  uint8_t is_map;
};

/* Reads one header. Returns 0 when it is cut short or no msgpack. */
int pw_msgpack_head(const uint8_t *at, const uint8_t *end, struct pw_msgpack_head *head);

/* The byte after one value with all that is in it; NULL when it is cut short or no msgpack. */
const uint8_t *pw_msgpack_skip(const uint8_t *at, const uint8_t *end);

#endif
