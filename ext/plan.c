#include "plan.h"

#include <string.h>

#include "cri.h"
#include "direct.h"
#include "json.h"
#include "msgpack.h"

/* What a piece's value is. Its key is bytes of msgpack that come before. */
enum kind {
  TEXT,    /* bytes that become a str */
  PACKED,  /* msgpack */
  RUN,     /* pairs in scratch memory, no key before: pairs may be taken out of it */
};

/* A record under construction: pieces in order, and scratch memory not yet used. */
struct build {
  const struct pw_plan *plan;
  uint8_t offset[9];  /* the record's, as msgpack */
  struct pw_piece *pieces;
  size_t count;
  uint8_t *work;
  uint32_t seconds;
  uint32_t nanoseconds;
};

static inline void push(struct build *b, struct pw_piece piece)
{
  b->pieces[b->count++] = piece;
}

static inline void push_text(struct build *b, const struct pw_key *key, struct pw_text text)
{
  if (key->packed.bytes)
    push(b, (struct pw_piece){.key = key->packed.at, .key_bytes = key->packed.bytes, .value = text.at,
                              .value_bytes = text.bytes, .pairs = 1, .kind = TEXT, .watch = key->watch});
}

static inline void push_step(struct build *b, const struct pw_step *step)
{
  push(b, (struct pw_piece){.key = step->packed.at, .key_bytes = step->key_bytes,
                            .value = step->packed.at + step->key_bytes,
                            .value_bytes = step->packed.bytes - step->key_bytes,
                            .pairs = step->pairs, .kind = PACKED, .watch = step->watch});
}

static inline void push_run(struct build *b, const uint8_t *pairs, size_t bytes, size_t count)
{
  push(b, (struct pw_piece){.key = pairs, .value = pairs, .value_bytes = bytes, .pairs = count, .kind = RUN,
                            .watch = -1});
}

/* A pair in a run: key at `at`, value at `value`, the next pair at `next`. */
struct pair {
  const uint8_t *at;
  const uint8_t *value;
  const uint8_t *next;
};

static int read_pair(const uint8_t *at, const uint8_t *end, struct pair *pair)
{
  pair->at = at;
  pair->value = pw_msgpack_skip(at, end);
  pair->next = pair->value ? pw_msgpack_skip(pair->value, end) : NULL;
  return pair->next != NULL;
}

static int has_key(const struct pair *pair, const struct pw_text *key)
{
  return (size_t)(pair->value - pair->at) == key->bytes && memcmp(pair->at, key->at, key->bytes) == 0;
}

/* Takes the pairs with that key out of the run, at most `limit` of them. */
static void drop_from_run(struct pw_piece *run, const struct pw_text *key, size_t limit)
{
  uint8_t *to = (uint8_t *)(uintptr_t)run->value;
  const uint8_t *end = run->value + run->value_bytes;
  struct pair pair;
  for (const uint8_t *at = run->value; at < end && read_pair(at, end, &pair); at = pair.next) {
    if (limit && has_key(&pair, key)) {
      limit--;
      run->pairs--;
      continue;
    }
    memmove(to, pair.at, (size_t)(pair.next - pair.at));
    to += pair.next - pair.at;
  }
  run->value_bytes = (size_t)(to - run->value);
}

static void drop_piece(struct build *b, size_t index)
{
  b->count--;
  memmove(b->pieces + index, b->pieces + index + 1, (b->count - index) * sizeof *b->pieces);
}

static void drop_key(struct build *b, int32_t watch)
{
  const struct pw_plan *plan = b->plan;
  size_t kept = 0;
  for (size_t i = 0; i < b->count; i++) {
    if (b->pieces[i].watch == watch)
      continue;
    b->pieces[kept] = b->pieces[i];
    if (b->pieces[kept].kind == RUN && plan->seen[watch])
      drop_from_run(&b->pieces[kept], &plan->watches[watch], SIZE_MAX);
    kept++;
  }
  b->count = kept;
  plan->seen[watch] = 0;
}

static int has(const struct build *b, int32_t watch)
{
  if (b->plan->seen[watch])
    return 1;
  for (size_t i = 0; i < b->count; i++)
    if (b->pieces[i].watch == watch)
      return 1;
  return 0;
}

/* The value that is merged: text, or msgpack (of a constant or of a run's pair). */
struct source {
  size_t piece;
  int in_run;
  int is_text;
  struct pw_text value;
  size_t readable_bytes;
};

static int find_in_run(const struct pw_piece *run, const struct pw_text *key, struct pw_text *value)
{
  const uint8_t *end = run->value + run->value_bytes;
  struct pair pair;
  for (const uint8_t *at = run->value; at < end && read_pair(at, end, &pair); at = pair.next)
    if (has_key(&pair, key)) {
      *value = (struct pw_text){pair.value, (size_t)(pair.next - pair.value)};
      return 1;
    }
  return 0;
}

static int find_source(const struct build *b, int32_t watch, size_t content_readable_bytes,
                       struct source *source)
{
  const struct pw_plan *plan = b->plan;
  const struct pw_piece *piece = b->pieces;
  for (size_t i = 0; i < b->count; i++, piece++) {
    if (piece->watch == watch) {
      int is_content = piece->key == plan->content.packed.at;
      *source = (struct source){i, 0, piece->kind == TEXT, {piece->value, piece->value_bytes},
                                is_content ? content_readable_bytes : piece->value_bytes};
      return 1;
    }
    if (piece->kind == RUN && plan->seen[watch] &&
        find_in_run(piece, &plan->watches[watch], &source->value)) {
      source->piece = i;
      source->in_run = 1;
      source->is_text = 0;
      return 1;
    }
  }
  return 0;
}

static void note_keys(const struct pw_plan *plan, const uint8_t *at, const uint8_t *end)
{
  struct pair pair;
  for (; at < end && read_pair(at, end, &pair); at = pair.next)
    for (size_t i = 0; i < plan->noted_count; i++)
      if (has_key(&pair, &plan->watches[i]))
        plan->seen[i] = 1;
}

/* Text to the pairs of a map at `out`. */
static int64_t lift_text(const struct pw_plan *plan, const struct source *source, int lifted, uint8_t *out,
                         size_t *out_bytes)
{
  struct pw_json_input input = {
    .text = source->value.at,
    .bytes = source->value.bytes,
    .readable_bytes = source->readable_bytes,
    .vectors = plan->vectors,
    .trim = plan->merge.trim,
    .watches = plan->watches,
    .watch_count = lifted ? plan->noted_count : 0,
    .watch_marks = pw_json_marks(plan->watches, plan->noted_count),
    .seen = plan->seen,
  };
  if (!pw_may_be_object(&source->value))
    return -1;
  return pw_json_object(&input, out, out_bytes);
}

static int64_t lift(const struct pw_plan *plan, struct source *source, int lifted, uint8_t *out,
                    size_t *out_bytes)
{
  if (source->is_text)
    return lift_text(plan, source, lifted, out, out_bytes);
  const uint8_t *end = source->value.at + source->value.bytes;
  struct pw_msgpack_head head;
  if (!pw_msgpack_head(source->value.at, end, &head))
    return -1;
  source->value.at += head.head_bytes;
  source->value.bytes -= head.head_bytes;
  source->readable_bytes = source->value.bytes;
  if (head.is_str)
    return lift_text(plan, source, lifted, out, out_bytes);
  if (!head.is_map)
    return -1;
  *out_bytes = source->value.bytes;
  pw_put_bytes(out, source->value.at, source->value.bytes);
  if (lifted)
    note_keys(plan, out, out + *out_bytes);
  return (int64_t)(head.items / 2);
}

/* A text that turned out to be no object may have left marks in `seen`. */
static void note_again(const struct build *b)
{
  if (!b->plan->noted_count)
    return;
  memset(b->plan->seen, 0, b->plan->noted_count);
  for (size_t i = 0; i < b->count; i++)
    if (b->pieces[i].kind == RUN)
      note_keys(b->plan, b->pieces[i].value, b->pieces[i].value + b->pieces[i].value_bytes);
}

/* Puts the pairs that were lifted out of `source` in their place; they are at b->work or behind it. */
static void place_pairs(struct build *b, int32_t watch, const struct source *source, uint8_t *pairs, size_t bytes,
                        size_t count)
{
  const struct pw_plan *plan = b->plan;
  if (!plan->merge.keep && source->in_run)
    drop_from_run(&b->pieces[source->piece], &plan->watches[watch], 1);
  else if (!plan->merge.keep)
    drop_piece(b, source->piece);
  b->work = pairs + bytes;
  if (count == 0)
    return;
  if (plan->merge.under.packed.bytes == 0) {
    push_run(b, pairs, bytes, count);
    return;
  }
  uint8_t *map = pairs - pw_count_head_bytes(count);
  pw_put_map_head(map, count);
  push(b, (struct pw_piece){.key = plan->merge.under.packed.at, .key_bytes = plan->merge.under.packed.bytes,
                            .value = map, .value_bytes = (size_t)(pairs + bytes - map), .pairs = 1,
                            .kind = PACKED, .watch = plan->merge.under.watch});
}

static void merge(struct build *b, int32_t watch, size_t content_readable_bytes)
{
  const struct pw_plan *plan = b->plan;
  int lifted = plan->merge.under.packed.bytes == 0;
  uint8_t *pairs = b->work + (lifted ? 0 : 5); /* before the pairs: the header of their map */
  struct source source;
  size_t bytes;
  if (!find_source(b, watch, content_readable_bytes, &source))
    return;
  int64_t count = lift(plan, &source, lifted, pairs, &bytes);
  if (count < 0)
    note_again(b);
  else
    place_pairs(b, watch, &source, pairs, bytes, (size_t)count);
}

static void apply(struct build *b, const struct pw_step *step, size_t content_readable_bytes)
{
  switch (step->op) {
  case PW_ADD:
    if (has(b, step->watch))
      break;
    push_step(b, step);
    break;
  case PW_SET:
    drop_key(b, step->watch);
    push_step(b, step);
    break;
  case PW_REMOVE:
    drop_key(b, step->watch);
    break;
  case PW_MERGE:
    merge(b, step->watch, content_readable_bytes);
    break;
  default:
    push_step(b, step);
  }
}

/* The time that an object has of its own, if it is an RFC 3339 one; else that of reading stays. */
static void take_time(struct build *b, const struct pw_piece *object)
{
  struct pw_text value;
  struct pw_msgpack_head str;
  struct pw_cri_clock clock = {0};
  struct pw_cri_head head;
  if (!find_in_run(object, &b->plan->time.packed, &value) ||
      !pw_msgpack_head(value.at, value.at + value.bytes, &str) || !str.is_str)
    return;
  const uint8_t *end = value.at + value.bytes;
  if (pw_cri_time(value.at + str.head_bytes, end, &clock, &head) != end)
    return;
  b->seconds = head.seconds;
  b->nanoseconds = head.nanoseconds;
}

/* Returns whether the line is a JSON object; if so its pairs are pushed. */
static int push_object(struct build *b, const struct pw_record *record)
{
  struct pw_json_input input = {
    .text = record->content.at,
    .bytes = record->content.bytes,
    .readable_bytes = record->readable_bytes,
    .vectors = b->plan->vectors,
    .watches = b->plan->watches,
    .watch_count = b->plan->noted_count,
    .watch_marks = pw_json_marks(b->plan->watches, b->plan->noted_count),
    .seen = b->plan->seen,
  };
  size_t bytes;
  int64_t pairs = pw_json_object(&input, b->work, &bytes);
  if (pairs < 0) {
    note_again(b);
    return 0;
  }
  push_run(b, b->work, bytes, (size_t)pairs);
  b->work += bytes;
  if (b->plan->time.packed.bytes)
    take_time(b, &b->pieces[b->count - 1]);
  return 1;
}

static void push_pairs(struct build *b, const uint8_t *from, const uint8_t *to, size_t count)
{
  if (count)
    push_run(b, from, (size_t)(to - from), count);
}

/* docker's object in its own order, with log and time of the whole record in place of the last part's. */
static void push_docker(struct build *b, const struct pw_record *record)
{
  static const struct pw_text KEYS[] = {{(const uint8_t *)"\xa3log", 4}, {(const uint8_t *)"\xa6stream", 7},
                                        {(const uint8_t *)"\xa4time", 5}};
  const struct pw_plan *plan = b->plan;
  const struct pw_key *names[] = {&plan->content, &plan->stream, &plan->time};
  const struct pw_text values[] = {record->content, record->stream, record->time};
  int is_done[] = {0, 0, 0};
  const uint8_t *end = record->object.at + record->object.bytes;
  const uint8_t *from = record->object.at;
  size_t count = 0;
  struct pair pair;
  for (const uint8_t *at = from; at < end && read_pair(at, end, &pair); at = pair.next) {
    int which = 0;
    while (which < 3 && (is_done[which] || !has_key(&pair, &KEYS[which])))
      which++;
    if (which == 3) {
      count++;
      continue;
    }
    push_pairs(b, from, at, count);
    push_text(b, names[which], values[which]);
    is_done[which] = 1;
    from = pair.next;
    count = 0;
  }
  push_pairs(b, from, end, count);
  for (int which = 0; which < 3; which++)
    if (!is_done[which])
      push_text(b, names[which], values[which]);
  if (plan->noted_count)
    note_again(b);
}

static void push_offset(struct build *b, uint64_t offset)
{
  const struct pw_key *key = &b->plan->offset;
  if (key->packed.bytes)
    push(b, (struct pw_piece){.key = key->packed.at, .key_bytes = key->packed.bytes, .value = b->offset,
                              .value_bytes = (size_t)(pw_put_uint(b->offset, offset) - b->offset), .pairs = 1,
                              .kind = PACKED, .watch = key->watch});
}

/* Pushes what the framing found. Returns whether the line fits the framing. */
static int push_record(struct build *b, const struct pw_record *record)
{
  static const uint8_t TRUE[] = {0xc3};
  const struct pw_plan *plan = b->plan;
  int fits = !record->is_raw;
  if (fits && plan->framing == PW_JSON)
    fits = !record->is_cut && push_object(b, record);
  if (!fits) {
    push_text(b, &plan->raw, record->content);
  } else if (record->is_docker) {
    push_docker(b, record);
  } else if (plan->framing != PW_JSON) {
    if (plan->framing != PW_LINE) {
      push_text(b, &plan->time, record->time);
      push_text(b, &plan->stream, record->stream);
      push_text(b, &plan->logtag, record->logtag);
    }
    push_text(b, &plan->content, record->content);
  }
  push_offset(b, record->offset);
  if (record->is_cut)
    push(b, (struct pw_piece){.key = plan->truncated.packed.at, .key_bytes = plan->truncated.packed.bytes,
                              .value = TRUE, .value_bytes = 1, .pairs = 1, .kind = PACKED,
                              .watch = plan->truncated.watch});
  return fits;
}

static uint8_t *write_piece(uint8_t *out, const struct pw_piece *piece)
{
  out = pw_put_short(out, piece->key, piece->key_bytes);
  if (piece->kind == TEXT)
    out = pw_put_str_head(out, piece->value_bytes);
  return pw_put_short(out, piece->value, piece->value_bytes);
}

static int write_entry(const struct build *b, struct pw_log_batch *batch)
{
  size_t pairs = 0;
  size_t bytes = PW_ENTRY_HEAD_BYTES;
  for (size_t i = 0; i < b->count; i++) {
    const struct pw_piece *piece = &b->pieces[i];
    pairs += piece->pairs;
    bytes += piece->key_bytes + piece->value_bytes;
    bytes += piece->kind == TEXT ? pw_str_head_bytes(piece->value_bytes) : 0;
  }
  bytes += pw_count_head_bytes(pairs);
  if (bytes > batch->out_capacity - batch->out_bytes)
    return 0;
  uint8_t *out = pw_put_entry_head(batch->out + batch->out_bytes, b->seconds, b->nanoseconds);
  out = pw_put_map_head(out, pairs);
  for (size_t i = 0; i < b->count; i++)
    out = write_piece(out, &b->pieces[i]);
  batch->out_bytes += bytes;
  return 1;
}

/* The pieces of a record, its content merged already if `lifted`, which takes the place of the first step.
 * Returns whether the line fits the framing. */
static int build_record(struct build *b, const struct pw_record *record, const struct pw_lifted *lifted)
{
  const struct pw_plan *plan = b->plan;
  int fits = push_record(b, record);
  size_t first = 0;
  if (lifted) {
    struct source content = {.piece = b->count - 1};
    pw_put_bytes(b->work, lifted->at, lifted->bytes);
    place_pairs(b, plan->steps[first++].watch, &content, b->work, lifted->bytes, (size_t)lifted->pairs);
  }
  for (size_t i = first; i < plan->step_count; i++)
    apply(b, &plan->steps[i], record->readable_bytes);
  return fits;
}

int pw_plan_emit(const struct pw_plan *plan, const struct pw_record *record, struct pw_log_batch *batch)
{
  struct pw_lifted lifted;
  int fits = 1;
  if (plan->noted_count)
    memset(plan->seen, 0, plan->noted_count);
  enum pw_direct_outcome outcome = pw_direct_emit(plan, record, batch, &lifted);
  if (outcome != PW_DIRECT_WRITTEN) {
    struct build b = {.plan = plan, .pieces = plan->pieces, .work = batch->work + record->work_bytes,
                      .seconds = record->seconds, .nanoseconds = record->nanoseconds};
    fits = build_record(&b, record, outcome == PW_DIRECT_LIFTED ? &lifted : NULL);
    if (!write_entry(&b, batch))
      return 0;
  }
  batch->records++;
  batch->unparsed += !fits;
  batch->cut += record->is_cut != 0;
  batch->starved += record->is_starved != 0;
  return 1;
}

size_t pw_log_work_bytes(size_t max_record_bytes)
{
  return 2 * pw_json_bytes(max_record_bytes);
}

size_t pw_log_out_bytes(const struct pw_plan *plan, size_t max_record_bytes)
{
  const struct pw_key *keys[] = {&plan->time, &plan->stream, &plan->logtag, &plan->content,
                                 &plan->raw, &plan->truncated, &plan->offset, &plan->merge.under};
  size_t bytes = PW_LOG_SLACK_BYTES + max_record_bytes + pw_log_work_bytes(max_record_bytes);
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
    bytes += keys[i]->packed.bytes;
  for (size_t i = 0; i < plan->step_count; i++)
    bytes += plan->steps[i].packed.bytes;
  return bytes;
}
