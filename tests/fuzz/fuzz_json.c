#include "fuzz.h"

#include "tests/native/log_feed.h"

int fuzz_target(const uint8_t *input, size_t bytes)
{
  return json_alone(input, bytes);
}
