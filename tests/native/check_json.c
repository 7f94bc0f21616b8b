/* Each kind of vectors beside plain C: every length and alignment around a vector, each kind of
 * byte that ends a run at each place, and the text against the end of a page that is followed by none. */
#include <sys/mman.h>

#include "check.h"
#include "ext/json.h"
#include "ext/log.h"

#define PAGE_BYTES 4096
#define LONGEST 72
#define SLACK 40 /* readable behind the text, in one of the two ways of calling */

static int64_t parsed(const uint8_t *text, size_t bytes, size_t readable_bytes, int32_t vectors, uint8_t *out,
                      size_t *out_bytes)
{
  struct pw_json_input input = {.text = text, .bytes = bytes, .readable_bytes = readable_bytes,
                                .vectors = vectors};
  return pw_json_object(&input, out, out_bytes);
}

static int agree(const uint8_t *text, size_t bytes, size_t readable_bytes)
{
  static uint8_t plain[PAGE_BYTES], other[PAGE_BYTES];
  size_t plain_bytes = 0, other_bytes = 0;
  int64_t pairs = parsed(text, bytes, bytes, PW_VECTORS_NONE, plain, &plain_bytes);
  for (int32_t vectors = 1; vectors <= pw_vectors(); vectors++) {
    CHECK(parsed(text, bytes, readable_bytes, vectors, other, &other_bytes) == pairs);
    CHECK(pairs < 0 || (other_bytes == plain_bytes && memcmp(other, plain, plain_bytes) == 0));
  }
  return 0;
}

/* {"xx...":"xx..."} with `byte` at `place` of the value, ending `SLACK` before the page's end or there. */
static int one_text(uint8_t *page_end, size_t key_bytes, size_t value_bytes, size_t place, uint8_t byte)
{
  uint8_t text[2 * LONGEST + 16];
  size_t bytes = 0;
  text[bytes++] = '{';
  text[bytes++] = '"';
  memset(text + bytes, 'k', key_bytes);
  bytes += key_bytes;
  memcpy(text + bytes, "\":\"", 3);
  bytes += 3;
  memset(text + bytes, 'v', value_bytes);
  if (place < value_bytes)
    text[bytes + place] = byte;
  bytes += value_bytes;
  memcpy(text + bytes, "\"}", 2);
  bytes += 2;
  memcpy(page_end - bytes, text, bytes);
  if (agree(page_end - bytes, bytes, bytes))
    return 1;
  memset(page_end - SLACK, '"', SLACK);
  memcpy(page_end - SLACK - bytes, text, bytes);
  return agree(page_end - SLACK - bytes, bytes, bytes + SLACK);
}

int check_json(void)
{
  static const uint8_t BYTES[] = {'"', '\\', 0, 0x1f, 0x20, 0x7f, 0x80, 0xff, '\n', '{'};
  uint8_t *pages = mmap(NULL, 2 * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(pages != MAP_FAILED && mprotect(pages + PAGE_BYTES, PAGE_BYTES, PROT_NONE) == 0);
  for (size_t value_bytes = 0; value_bytes < LONGEST; value_bytes++)
    for (size_t place = 0; place <= value_bytes; place++)
      for (size_t i = 0; i < sizeof BYTES; i++)
        if (one_text(pages + PAGE_BYTES, (value_bytes * 7 + place) % LONGEST, value_bytes, place, BYTES[i])) {
          fprintf(stderr, "value of %zu bytes, 0x%02x at %zu\n", value_bytes, BYTES[i], place);
          return 1;
        }
  CHECK(munmap(pages, 2 * PAGE_BYTES) == 0);
  return 0;
}
