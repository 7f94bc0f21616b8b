/* For tests/native/check_NAME.c: each defines `int check_NAME(void)`, 0 when all is well.
 * test_sanitized.py finds them, writes main() and runs them under ASan, UBSan and LSan. */
#ifndef PODWITNESS_CHECK_H
#define PODWITNESS_CHECK_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition) \
  do { \
    if (!(condition)) { \
      fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
      return 1; \
    } \
  } while (0)

/* The same numbers on every run; `state` starts as anything but 0. */
static inline uint64_t check_random(uint64_t *state)
{
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

/* `bytes` at an address of their own, so that reading one byte too far is seen. */
static inline uint8_t *check_copy(const void *from, size_t bytes)
{
  uint8_t *copy = malloc(bytes ? bytes : 1);
  if (!copy)
    abort();
  memcpy(copy, from, bytes);
  return copy;
}

/* Replaces, removes or puts in a few bytes; returns the new length, at most `bytes` + 8. */
static inline size_t check_mutate(uint8_t *text, size_t bytes, uint64_t *state)
{
  static const char TELLING[] = "{}[]\",:\\u0e-+. \n\r\tPF\0Z";
  size_t changes = 1 + check_random(state) % 4;
  for (size_t i = 0; i < changes && bytes > 0; i++) {
    size_t at = check_random(state) % bytes;
    uint8_t byte = check_random(state) & 1 ? (uint8_t)check_random(state)
                                           : (uint8_t)TELLING[check_random(state) % sizeof TELLING];
    switch (check_random(state) % 3) {
    case 0:
      text[at] = byte;
      break;
    case 1:
      memmove(text + at, text + at + 1, bytes - at - 1);
      bytes--;
      break;
    default:
      memmove(text + at + 1, text + at, bytes - at);
      text[at] = byte;
      bytes++;
    }
  }
  return bytes;
}

#endif
