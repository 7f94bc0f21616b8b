/* A small fuzzer that is led by coverage, so that gcc is all it takes.
 *
 * fuzz_NAME.c defines fuzz_target() and is linked with all of ext/, instrumented by
 * -fsanitize-coverage=trace-pc; test_fuzz.py runs it. An input that reaches an edge
 * no other reached is kept and mutated further. What breaks the target, or takes it
 * too long, is written to a file. fuzz_python.py is the same for code in Python. */
#ifndef PODWITNESS_FUZZ_H
#define PODWITNESS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* One input. Returns 0; anything else, or a sanitizer's report, ends the run. */
int fuzz_target(const uint8_t *input, size_t bytes);

#endif
