/* Internal. Writers for the encoder of kernel events.
 *
 * All take a cursor, write at it and return it moved. None checks for room: the
 * encoder makes sure beforehand that a whole record fits (pw_event_room), with
 * slack for writers that store a fixed number of bytes and then move by less. */
#ifndef PODWITNESS_EVENT_PUT_H
#define PODWITNESS_EVENT_PUT_H

#include <string.h>

#include "event.h"
#include "msgpack.h"

struct pw_word { /* a word of our own, at most 15 letters */
  char text[15];
  uint8_t bytes;
};
#define PW_WORD(literal) {literal, sizeof(literal) - 1}

/* A key or value that is a string literal of up to 31 bytes. */
#define PUT(p, literal) put_literal(p, literal, sizeof(literal) - 1)
static inline uint8_t *put_literal(uint8_t *p, const char *text, size_t length)
{
  *p = (uint8_t)(0xa0 | length);
  memcpy(p + 1, text, length);
  return p + 1 + length;
}

static inline uint8_t *put_word(uint8_t *p, const struct pw_word *word)
{
  *p = (uint8_t)(0xa0 | word->bytes);
  memcpy(p + 1, word->text, sizeof word->text); /* a fixed size is one store; only word->bytes of it count */
  return p + 1 + word->bytes;
}

/* A map of up to 15 pairs; the count is put in by end_map. */
static inline uint8_t *begin_map(uint8_t *p) { return p + 1; }
static inline void end_map(uint8_t *began, unsigned pairs) { began[-1] = (uint8_t)(0x80 | pairs); }

/* A map that may have more pairs; end_long_map returns where it ends. */
static inline uint8_t *begin_long_map(uint8_t *p) { return p + 3; }
static inline uint8_t *end_long_map(uint8_t *began, uint8_t *end, unsigned pairs)
{
  uint8_t *const start = began - 3, *const content = pw_put_map_head(start, pairs);
  if (content != began)
    memmove(content, began, (size_t)(end - began));
  return end - (began - content);
}

/* Pairs that a map has only where they say something; `*pairs` counts them. */
#define PUT_IF_TRUE(p, literal, is_true, pairs) put_if_true(p, literal, sizeof(literal) - 1, is_true, pairs)
static inline uint8_t *put_if_true(uint8_t *p, const char *key, size_t length, unsigned is_true, unsigned *pairs)
{
  if (!is_true)
    return p;
  *pairs += 1;
  return pw_put_byte(put_literal(p, key, length), 0xc3);
}

#define PUT_UNLESS_0(p, literal, value, pairs) put_unless_0(p, literal, sizeof(literal) - 1, value, pairs)
static inline uint8_t *put_unless_0(uint8_t *p, const char *key, size_t length, uint64_t value, unsigned *pairs)
{
  if (value == 0)
    return p;
  *pairs += 1;
  return pw_put_uint(put_literal(p, key, length), value);
}

/* Bytes from the kernel or from a process, as UTF-8: a byte that is not part of
 * a character is written \xNN; so that this can be undone, a backslash that is
 * followed by an x is written \x5c. At most 16383 bytes. */
uint8_t *pw_put_text(uint8_t *p, const uint8_t *text, uint32_t length);

/* A fixed-size name that ends at its first NUL. */
uint8_t *pw_put_comm(uint8_t *p, const char comm[PW_COMM_BYTES]);

/* 2025-11-24T01:58:00.123456789Z, up to the year 2554. */
uint8_t *pw_put_date(uint8_t *p, uint64_t wall_ns);

/* A number as decimal text: ECS has ids as keywords. */
uint8_t *pw_put_decimal(uint8_t *p, uint64_t value);

/* 16 hex digits. */
uint8_t *pw_put_hex64(uint8_t *p, uint64_t value);

/* process.entity_id: node, start and pid, which no other process ever has. */
uint8_t *pw_put_entity_id(uint8_t *p, uint64_t node_id, uint64_t start_ns, uint32_t pid);

/* {pid, entity_id}, without the latter when `start_ns` is 0. */
uint8_t *pw_put_process_ids(uint8_t *p, uint64_t node_id, uint64_t start_ns, uint32_t pid);

/* Key process.env_vars and NAME=VALUE of those variables that may be told, if there are any. `is_cut`: the first
 * string lacks its start. */
uint8_t *pw_put_variables(uint8_t *p, const struct pw_event_clock *clock, const char *environment, uint32_t length,
                          int is_cut, unsigned *pairs);

/* 1 for ::ffff:a.b.c.d, which is IPv4 on the wire. */
int pw_is_mapped_ipv4(const uint8_t address[16]);

/* As text; IPv6 as RFC 5952 says, a mapped address as the IPv4 address that it is. */
uint8_t *pw_put_address(uint8_t *p, const uint8_t address[16], int is_ipv6);

struct pw_actor;

/* process.executable, args and args_count of the program that a process runs: up to three pairs. */
uint8_t *pw_put_program(uint8_t *p, const struct pw_event_clock *clock, const struct pw_actor *actor, unsigned *pairs);

/* A path from its components, leaf first, each NUL ended. No components: "/".
 * `is_cut`: "..." stands for the part towards the root that is missing. */
uint8_t *pw_put_path(uint8_t *p, const char *components, uint32_t length, int is_cut);

/* process.args from NUL-ended strings, and the same as process.command_line, joined by a space each. */
uint8_t *pw_put_args(uint8_t *p, const char *args, uint32_t length);
uint8_t *pw_put_command_line(uint8_t *p, const char *args, uint32_t length);

#endif
