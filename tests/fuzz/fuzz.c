#include "fuzz.h"

#include <sanitizer/common_interface_defs.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "tests/native/check.h"

#define INPUT_BYTES 4096
/* One input in so many is large, up to this: what is deep, long or many. It is not kept. */
#define LARGE_EVERY 1024
#define LARGE_BYTES (1 << 20)
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

/* One input may take so long; what takes longer grows faster than its input. */
#define INPUT_S 5

/* What is tried now, for whoever finds the program dead. */
static const uint8_t *tried;
static size_t tried_bytes;
static const char *folder;

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

/* Into the file `broke` of the folder; also called by a sanitizer before it ends the program. */
static void write_tried(void)
{
  char path[4096];
  snprintf(path, sizeof path, "%s/broke", folder);
  FILE *file = fopen(path, "wb");
  if (!file)
    return;
  fwrite(tried, 1, tried_bytes, file);
  fclose(file);
}

static void too_slow(int number)
{
  (void)number;
  write_tried();
  fprintf(stderr, "an input of %zu bytes takes longer than %d s\n", tried_bytes, INPUT_S);
  _exit(1);
}

static int try_input(const uint8_t *text, size_t bytes)
{
  uint8_t *copy = check_copy(text, bytes);
  tried = text;
  tried_bytes = bytes;
  new_edges = 0;
  previous = 0;
  alarm(INPUT_S);
  int failed = fuzz_target(copy, bytes);
  free(copy);
  if (failed)
    write_tried();
  if (new_edges && bytes <= INPUT_BYTES)
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

/* A piece of an input is repeated where it stands, until the whole has a size between 4 KiB and the largest. */
static size_t enlarge(uint8_t *text, size_t bytes, uint64_t *state)
{
  size_t wanted = (size_t)INPUT_BYTES << check_random(state) % 9;
  if (!bytes)
    return 0;
  size_t at = check_random(state) % bytes;
  size_t piece = 1 + check_random(state) % (bytes - at < 256 ? bytes - at : 256);
  size_t copies = wanted > bytes ? (wanted - bytes) / piece : 0;
  memmove(text + at + (copies + 1) * piece, text + at + piece, bytes - at - piece);
  for (size_t i = 1; i <= copies; i++)
    memcpy(text + at + i * piece, text + at, piece);
  return bytes + copies * piece;
}

static void forget(void)
{
  while (kept_count)
    free(kept[--kept_count].text);
}

/* Whether the limit is reached: `300` inputs, or `60s`. */
static int is_over(const char *limit, unsigned long long run, time_t start_s)
{
  char *unit;
  unsigned long long number = strtoull(limit, &unit, 10);
  return *unit == 's' ? (unsigned long long)(time(NULL) - start_s) >= number : run >= number;
}

/* fuzz LIMIT START FOLDER SEED...: START is any number but 0, the same for the same inputs. */
int main(int count, char **arguments)
{
  static uint8_t text[LARGE_BYTES];
  CHECK(count > 4);
  uint64_t state = strtoull(arguments[2], NULL, 10);
  time_t start_s = time(NULL);
  folder = arguments[3];
  __sanitizer_set_death_callback(write_tried);
  signal(SIGALRM, too_slow);
  for (int i = 4; i < count; i++)
    if (read_seed(arguments[i]))
      return 1;
  unsigned long long run = 0;
  for (; !is_over(arguments[1], run, start_s); run++) {
    size_t bytes = make_input(text, &state);
    if (run % LARGE_EVERY == LARGE_EVERY - 1)
      bytes = enlarge(text, bytes, &state);
    if (try_input(text, bytes))
      return 1;
  }
  printf("%llu runs, %zu inputs kept\n", run, kept_count);
  forget();
  return 0;
}
