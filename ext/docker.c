#include "docker.h"

#include <string.h>

#include "json.h"
#include "msgpack.h"

/* The first value of that key, if it is a str. */
static int find_text(const struct pw_text *object, const char *key, size_t key_bytes, struct pw_text *found)
{
  const uint8_t *end = object->at + object->bytes;
  for (const uint8_t *at = object->at; at && at < end;) {
    const uint8_t *value = pw_msgpack_skip(at, end);
    if (!value)
      return 0;
    if ((size_t)(value - at) == key_bytes && memcmp(at, key, key_bytes) == 0) {
      struct pw_msgpack_head head;
      if (!pw_msgpack_head(value, end, &head) || !head.is_str)
        return 0;
      *found = (struct pw_text){value + head.head_bytes, (size_t)head.body_bytes};
      return 1;
    }
    at = pw_msgpack_skip(value, end);
  }
  return 0;
}

static int set_stream(struct pw_cri_head *head)
{
  if (head->stream.bytes != 6)
    return 0;
  head->is_stderr = memcmp(head->stream.at, "stderr", 6) == 0;
  return head->is_stderr || memcmp(head->stream.at, "stdout", 6) == 0;
}

int pw_docker_line(const uint8_t *line, size_t bytes, size_t readable_bytes, int32_t vectors, uint8_t *out,
                   struct pw_cri_clock *clock, struct pw_docker_line *found)
{
  struct pw_json_input input = {.text = line, .bytes = bytes, .readable_bytes = readable_bytes,
                                .vectors = vectors};
  struct pw_text time;
  *found = (struct pw_docker_line){.object = {out, 0}};
  if (bytes == 0 || *line != '{' || pw_json_object(&input, out, &found->object.bytes) < 0)
    return 0;
  if (!find_text(&found->object, "\xa3log", 4, &found->log) || !found->log.bytes ||
      !find_text(&found->object, "\xa6stream", 7, &found->head.stream) || !set_stream(&found->head) ||
      !find_text(&found->object, "\xa4time", 5, &time))
    return 0;
  if (pw_cri_time(time.at, time.at + time.bytes, clock, &found->head) != time.at + time.bytes)
    return 0;
  found->head.is_partial = found->log.at[found->log.bytes - 1] != '\n';
  return 1;
}
