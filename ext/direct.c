#include "direct.h"

#include <string.h>

#include "json.h"
#include "msgpack.h"

/* A copy of it for each key, so that the lengths of each are foreseen by themselves. */
#define HOT static inline __attribute__((always_inline))

/* How many bytes a text takes under its key; none where the key is left out. */
HOT size_t pair_bytes(const struct pw_text *key, const struct pw_text *text)
{
  return key->bytes ? key->bytes + pw_str_head_bytes(text->bytes) + text->bytes : 0;
}

HOT uint8_t *put_pair(uint8_t *out, const struct pw_text *key, const struct pw_text *text)
{
  if (!key->bytes)
    return out;
  out = pw_put_short(out, key->at, key->bytes);
  out = pw_put_str_head(out, text->bytes);
  return pw_put_short(out, text->at, text->bytes);
}

/* The pairs before those of an object. */
static inline size_t front_bytes(const struct pw_direct *direct, const struct pw_record *record, int has_content)
{
  size_t bytes = pair_bytes(&direct->time, &record->time) + pair_bytes(&direct->stream, &record->stream) +
                 pair_bytes(&direct->logtag, &record->logtag);
  return has_content ? bytes + pair_bytes(&direct->content, &record->content) : bytes;
}

static inline size_t front_pairs(const struct pw_direct *direct, int has_content)
{
  return (direct->time.bytes > 0) + (direct->stream.bytes > 0) + (direct->logtag.bytes > 0) +
         (has_content && direct->content.bytes > 0);
}

static inline uint8_t *put_front(uint8_t *out, const struct pw_direct *direct, const struct pw_record *record,
                                 size_t pairs, int has_content)
{
  out = pw_put_entry_head(out, record->seconds, record->nanoseconds);
  out = pw_put_map_head(out, pairs);
  out = put_pair(out, &direct->time, &record->time);
  out = put_pair(out, &direct->stream, &record->stream);
  out = put_pair(out, &direct->logtag, &record->logtag);
  return has_content ? put_pair(out, &direct->content, &record->content) : out;
}

static inline void put_tail(uint8_t *out, const struct pw_direct *direct, struct pw_log_batch *batch)
{
  memcpy(out, direct->tail.at, direct->tail.bytes);
  batch->out_bytes = (size_t)(out + direct->tail.bytes - batch->out);
}

static enum pw_direct_outcome write_text(const struct pw_direct *direct, const struct pw_record *record,
                                         struct pw_log_batch *batch)
{
  size_t pairs = front_pairs(direct, 1) + direct->tail_pairs;
  size_t bytes = PW_ENTRY_HEAD_BYTES + pw_count_head_bytes(pairs) + front_bytes(direct, record, 1) +
                 direct->tail.bytes;
  if (bytes > batch->out_capacity - batch->out_bytes)
    return PW_DIRECT_NOT;
  put_tail(put_front(batch->out + batch->out_bytes, direct, record, pairs, 1), direct, batch);
  return PW_DIRECT_WRITTEN;
}

static int64_t parse(const struct pw_plan *plan, const struct pw_record *record, uint8_t *out, size_t *bytes)
{
  struct pw_json_input input = {
    .text = record->content.at,
    .bytes = record->content.bytes,
    .readable_bytes = record->readable_bytes,
    .vectors = plan->vectors,
    .trim = plan->merge.trim,
    .watches = plan->watches,
    .watch_count = plan->noted_count,
    .watch_marks = pw_json_marks(plan->watches, plan->noted_count),
    .seen = plan->seen,
  };
  return pw_json_object(&input, out, bytes);
}

static int has_noted(const struct pw_plan *plan)
{
  for (size_t i = 0; i < plan->noted_count; i++)
    if (plan->seen[i])
      return 1;
  return 0;
}

/* The object's pairs are parsed to where they belong, as far as it can be told before they are counted: the
 * map's header is taken to be as long as that of the last object. What is before them comes after. */
static enum pw_direct_outcome write_object(const struct pw_plan *plan, const struct pw_record *record,
                                           struct pw_log_batch *batch, struct pw_lifted *lifted)
{
  const struct pw_direct *direct = &plan->direct;
  int keep = plan->merge.keep;
  size_t front = PW_ENTRY_HEAD_BYTES + front_bytes(direct, record, keep);
  size_t most = front + 5 + pw_json_bytes(record->content.bytes) + direct->tail.bytes;
  if (most > batch->out_capacity - batch->out_bytes)
    return PW_DIRECT_NOT;
  uint8_t *out = batch->out + batch->out_bytes;
  uint8_t *at = out + front + 1 + batch->wider_bytes;
  size_t bytes;
  int64_t count = parse(plan, record, at, &bytes);
  if (count < 0) { /* no object after all, which may have left marks */
    if (plan->noted_count)
      memset(plan->seen, 0, plan->noted_count);
    return write_text(direct, record, batch);
  }
  if (has_noted(plan)) {
    *lifted = (struct pw_lifted){at, bytes, count};
    return PW_DIRECT_LIFTED;
  }
  size_t pairs = front_pairs(direct, keep) + (size_t)count + direct->tail_pairs;
  size_t head_bytes = pw_count_head_bytes(pairs);
  uint8_t *place = out + front + head_bytes;
  if (place != at)
    memmove(place, at, bytes);
  batch->wider_bytes = head_bytes - 1;
  put_front(out, direct, record, pairs, keep);
  put_tail(place + bytes, direct, batch);
  return PW_DIRECT_WRITTEN;
}

enum pw_direct_outcome pw_direct_emit(const struct pw_plan *plan, const struct pw_record *record,
                                      struct pw_log_batch *batch, struct pw_lifted *lifted)
{
  const struct pw_direct *direct = &plan->direct;
  if (!direct->is_on || record->is_raw || record->is_cut || record->is_docker)
    return PW_DIRECT_NOT;
  if (!direct->merges || !pw_may_be_object(&record->content))
    return write_text(direct, record, batch);
  return write_object(plan, record, batch, lifted);
}
