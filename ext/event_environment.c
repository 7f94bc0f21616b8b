/* Environment variables, by name only. */
#include "event_put.h"

static int is_listed(const struct pw_event_clock *clock, const char *name, size_t length)
{
  for (uint32_t at = 0; at < clock->variables_bytes;) {
    const size_t listed = strnlen(clock->variables + at, clock->variables_bytes - at);
    if (listed == length && memcmp(clock->variables + at, name, length) == 0)
      return 1;
    at += (uint32_t)listed + 1;
  }
  return 0;
}

/* The next string that may be told, at or behind *at; its length, 0 if there is none. */
static uint32_t next_listed(const struct pw_event_clock *clock, const char *environment, uint32_t length,
                            uint32_t *at)
{
  while (*at < length) {
    const char *const text = environment + *at;
    const uint32_t text_length = (uint32_t)strnlen(text, length - *at);
    const char *const sign = memchr(text, '=', text_length);
    if (sign != NULL && is_listed(clock, text, (size_t)(sign - text)))
      return text_length;
    *at += text_length + 1;
  }
  return 0;
}

uint8_t *pw_put_variables(uint8_t *p, const struct pw_event_clock *clock, const char *environment, uint32_t length,
                          int is_cut, unsigned *pairs)
{
  const uint32_t first = is_cut ? (uint32_t)strnlen(environment, length) + 1 : 0;
  uint32_t count = 0, text;
  for (uint32_t at = first; (text = next_listed(clock, environment, length, &at)) != 0; at += text + 1)
    count++;
  if (count == 0)
    return p;
  *pairs += 1;
  p = pw_put_array_head(PUT(p, "env_vars"), count);
  for (uint32_t at = first; (text = next_listed(clock, environment, length, &at)) != 0; at += text + 1)
    p = pw_put_text(p, (const uint8_t *)environment + at, text);
  return p;
}
