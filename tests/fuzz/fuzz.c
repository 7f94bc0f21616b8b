#include "fuzz.h"

#include "tests/native/check.h"

#define INPUT_BYTES 4096
#define INPUTS 4096
#define EDGES (1 << 16)

struct input {
  size_t bytes;
  uint8_t *text;
};

static struct input kept[INPUTS];
static size_t kept_count;
static uint8_t seen[EDGES];
static size_t new_edges;
static uintptr_t previous;

/* Called at every basic block. An edge is the block and the one before it. */
__attribute__((no_sanitize("address", "undefined"))) void __sanitizer_cov_trace_pc(void)
{
  uintptr_t here = (uintptr_t)__builtin_return_address(0);
  uintptr_t block = here ^ here >> 16;
  uint8_t *edge = &seen[(block ^ previous >> 1) % EDGES];
  previous = block;
  new_edges += !*edge;
  *edge = 1;
}

static void keep(const uint8_t *text, size_t bytes)
{
  if (kept_count < INPUTS)
    kept[kept_count++] = (struct input){bytes, check_copy(text, bytes)};
}

static int try_input(const uint8_t *text, size_t bytes)
{
  uint8_t *copy = check_copy(text, bytes);
  new_edges = 0;
  previous = 0;
  int failed = fuzz_target(copy, bytes);
  free(copy);
  if (failed) {
    fprintf(stderr, "input of %zu bytes:", bytes);
    for (size_t i = 0; i < bytes; i++)
      fprintf(stderr, " %02x", text[i]);
    fprintf(stderr, "\n");
  }
  if (new_edges)
    keep(text, bytes);
  return failed;
}

static int read_seed(const char *path)
{
  uint8_t text[INPUT_BYTES];
  FILE *file = fopen(path, "rb");
  CHECK(file);
  size_t bytes = fread(text, 1, sizeof text, file);
  fclose(file);
  keep(text, bytes);
  return try_input(text, bytes);
}

/* The head of one kept input and the tail of another, then mutated. */
static size_t make_input(uint8_t *text, uint64_t *state)
{
  const struct input *one = &kept[check_random(state) % kept_count];
  const struct input *other = &kept[check_random(state) % kept_count];
  size_t head = one->bytes, tail = 0;
  if (check_random(state) % 4 == 0 && one->bytes && other->bytes) {
    head = check_random(state) % one->bytes;
    tail = check_random(state) % other->bytes;
  }
  if (head + tail > INPUT_BYTES - 8)
    tail = 0;
  memcpy(text, one->text, head);
  memcpy(text + head, other->text + other->bytes - tail, tail);
  size_t bytes = head + tail < INPUT_BYTES - 8 ? head + tail : INPUT_BYTES - 8;
  return check_mutate(text, bytes, state);
}

static void forget(void)
{
  while (kept_count)
    free(kept[--kept_count].text);
}

/* fuzz RUNS START SEED...: START is any number but 0, the same for the same run. */
int main(int count, char **arguments)
{
  uint8_t text[INPUT_BYTES];
  CHECK(count > 3);
  unsigned long long runs = strtoull(arguments[1], NULL, 10);
  uint64_t state = strtoull(arguments[2], NULL, 10);
  for (int i = 3; i < count; i++)
    if (read_seed(arguments[i]))
      return 1;
  for (unsigned long long run = 0; run < runs; run++)
    if (try_input(text, make_input(text, &state)))
      return 1;
  printf("%llu runs, %zu inputs kept\n", runs, kept_count);
  forget();
  return 0;
}
