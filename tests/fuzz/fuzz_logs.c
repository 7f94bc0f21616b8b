/* The first eight bytes choose plan, bounds and pieces; the rest is the file. */
#include "fuzz.h"

#include "tests/native/log_feed.h"

int fuzz_target(const uint8_t *input, size_t bytes)
{
  uint64_t choice;
  if (bytes < sizeof choice)
    return 0;
  memcpy(&choice, input, sizeof choice);
  return both_ways(input + sizeof choice, bytes - sizeof choice, choice);
}
