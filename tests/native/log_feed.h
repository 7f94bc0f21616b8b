/* A text through the log core whole and in pieces, by one of many plans; for check_logs.c
 * and tests/fuzz/fuzz_logs.c. Buffers are not a byte longer than the contract says. */
#ifndef PODWITNESS_LOG_FEED_H
#define PODWITNESS_LOG_FEED_H

#include "check.h"
#include "ext/log.h"
#include "ext/msgpack.h"

#define LENGTH(array) (sizeof(array) / sizeof *(array))
#define TEXT(literal) {(const uint8_t *)(literal), sizeof(literal) - 1}

/* Steps over the keys a, b and log; watches[i] is the packed key. */
static const struct pw_text WATCHES[] = {TEXT("\xa3log"), TEXT("\xa1" "a"), TEXT("\xa1" "b")};

static struct pw_step step(int op, int watch, struct pw_text packed, size_t pairs)
{
  return (struct pw_step){.op = op, .watch = watch, .packed = packed, .key_bytes = 2, .pairs = pairs};
}

static const struct pw_text A_ONE = TEXT("\xa1" "a\x01"), B_MAP = TEXT("\xa1" "b\x81\xa1" "a\xa1x");
static const struct pw_text TWO = TEXT("\xa1x\xa1y\xa1z\x03"), NONE = {NULL, 0};

/* Fills `steps` with one of several chains; returns how many. */
static size_t make_steps(uint64_t choice, struct pw_step *steps)
{
  size_t count = 0;
  if (choice & 1)
    steps[count++] = step(PW_ADD, 1, A_ONE, 1);
  if (choice & 2)
    steps[count++] = step(PW_MERGE, choice & 4 ? 0 : 2, NONE, 0);
  if (choice & 8)
    steps[count++] = step(PW_SET, 2, B_MAP, 1);
  if (choice & 16)
    steps[count++] = step(PW_REMOVE, 1, NONE, 0);
  if (choice & 32)
    steps[count++] = step(PW_APPEND, -1, TWO, 2);
  return count;
}

static struct pw_key key(const char *packed, int watch)
{
  return (struct pw_key){{(const uint8_t *)packed, strlen(packed)}, watch};
}

static struct pw_plan make_plan(uint64_t choice, struct pw_step *steps, uint8_t *seen, struct pw_piece *pieces)
{
  struct pw_plan plan = {
    .framing = (int32_t)(choice % 4) + (choice & 1 << 13 ? 2 : 0),
    .vectors = pw_vectors(),
    .time = key("\xa4time", -1),
    .stream = key("\xa6stream", -1),
    .logtag = key("\xa2_p", -1),
    .content = key("\xa3log", 0),
    .raw = key("\xa3log", 0),
    .truncated = key("\xa9truncated", -1),
    .offset = key(choice & 1 << 12 ? "\xa1o" : "", -1),
    .skip_long = !!(choice & 1 << 11),
    .skip_empty = !!(choice & 1 << 15),
    .steps = steps,
    .step_count = make_steps(choice >> 2, steps),
    .merge = {.under = key(choice & 256 ? "\xa1" "a" : "", choice & 256 ? 1 : -1),
              .keep = !!(choice & 512), .trim = !!(choice & 1024)},
    .watches = WATCHES,
    .watch_count = LENGTH(WATCHES),
    .noted_count = LENGTH(WATCHES),
    .seen = seen,
    .pieces = pieces,
  };
  return plan;
}

/* What the steps come to, where pw_direct can say it; `tail` has room for all constants. */
static struct pw_direct make_direct(uint64_t choice, const struct pw_plan *plan, uint8_t *tail)
{
  struct pw_direct direct = {
    .is_on = plan->framing != PW_JSON && plan->framing != PW_DOCKER_JOINED && !plan->offset.packed.bytes,
    .merges = choice >> 2 & 2 ? 1 : 0,
    .content = plan->content.packed,
    .tail = {tail, 0},
  };
  if ((direct.merges && (plan->steps[0].op != PW_MERGE || plan->steps[0].watch != 0 ||
                         plan->merge.under.packed.bytes)) ||
      !direct.is_on)
    return (struct pw_direct){0};
  if (plan->framing != PW_LINE) {
    direct.time = plan->time.packed;
    direct.stream = plan->stream.packed;
    direct.logtag = plan->logtag.packed;
  }
  for (size_t i = 0; i < plan->step_count; i++) {
    const struct pw_step *step = &plan->steps[i];
    if (step->op == PW_REMOVE) { /* of what PW_ADD has appended: its one pair comes first, if any */
      size_t left = direct.tail.bytes > A_ONE.bytes ? direct.tail.bytes - A_ONE.bytes : 0;
      int has_one = plan->steps[0].op == PW_ADD;
      if (has_one)
        memmove(tail, tail + A_ONE.bytes, left);
      direct.tail.bytes -= has_one ? A_ONE.bytes : 0;
      direct.tail_pairs -= has_one;
      continue;
    }
    if (step->packed.bytes)
      memcpy(tail + direct.tail.bytes, step->packed.at, step->packed.bytes);
    direct.tail.bytes += step->packed.bytes;
    direct.tail_pairs += step->pairs;
  }
  return direct;
}

/* What came out so far of one way of feeding. */
struct sum {
  uint8_t *entries;
  size_t bytes;
  size_t capacity;
  size_t records;
  size_t starved;
};

static int add(struct sum *sum, const struct pw_log_batch *batch)
{
  const uint8_t *at = batch->out;
  const uint8_t *end = batch->out + batch->out_bytes;
  size_t entries = 0;
  while (at && at < end) {
    at = pw_msgpack_skip(at, end);
    entries++;
  }
  CHECK(at == end && entries == batch->records);
  if (sum->bytes + batch->out_bytes >= sum->capacity) {
    sum->capacity = 2 * (sum->bytes + batch->out_bytes + 1);
    sum->entries = realloc(sum->entries, sum->capacity);
  }
  CHECK(sum->entries);
  if (batch->out_bytes)
    memcpy(sum->entries + sum->bytes, batch->out, batch->out_bytes);
  sum->bytes += batch->out_bytes;
  sum->records += batch->records;
  sum->starved += batch->starved;
  return 0;
}

/* Feeds `bytes` of text in pieces of up to `piece_bytes`, each in memory of its own. */
static int feed(const struct pw_plan *plan, const uint8_t *text, size_t bytes, size_t piece_bytes,
                size_t max_record_bytes, size_t budget_bytes, struct sum *sum)
{
  struct pw_log_budget budget = {.limit_bytes = budget_bytes};
  struct pw_log_stream *stream = pw_log_open(max_record_bytes, &budget);
  struct pw_log_batch batch = {.out_capacity = pw_log_out_bytes(plan, max_record_bytes),
                               .work_capacity = pw_log_work_bytes(max_record_bytes)};
  size_t from = 0, to = 0;
  int is_last;
  batch.out = malloc(batch.out_capacity);
  batch.work = malloc(batch.work_capacity);
  CHECK(stream && batch.out && batch.work);
  do {
    to = bytes - to > piece_bytes ? to + piece_bytes : bytes;
    is_last = to == bytes;
    do {
      uint8_t *piece = check_copy(text + from, to - from);
      int error = pw_log_encode(stream, plan, piece, to - from, from, is_last ? PW_LOG_END : 0, 7, &batch);
      free(piece);
      CHECK(error == PW_OK && batch.consumed <= to - from);
      from += batch.consumed;
      if (add(sum, &batch))
        return 1;
    } while (batch.full);
  } while (!is_last);
  CHECK(from == bytes && batch.partials[0] == -1 && batch.partials[1] == -1);
  pw_log_close(stream);
  CHECK(budget.taken_bytes == 0);
  free(batch.out);
  free(batch.work);
  return 0;
}

static inline int both_ways(const uint8_t *text, size_t bytes, uint64_t choice)
{
  static const size_t LIMITS[] = {0, 5, 30, 100, 1 << 14};
  struct pw_step steps[8];
  uint8_t *seen = malloc(LENGTH(WATCHES));
  struct pw_piece *pieces = NULL;
  struct pw_plan plan = make_plan(choice, steps, seen, pieces);
  pieces = plan.pieces = malloc((plan.step_count + PW_LOG_PIECES) * sizeof *pieces);
  size_t limit = LIMITS[(choice >> 16) % LENGTH(LIMITS)];
  size_t budget = choice & 1 << 14 ? 700 : 1 << 20;
  struct sum whole = {0}, parts = {0};
  uint8_t tail[64];
  CHECK(seen && pieces);
  plan.direct = make_direct(choice, &plan, tail);
  size_t all = bytes < 1 << 16 ? bytes : 1 << 16; /* each batch copies what is left of a piece */
  if (feed(&plan, text, bytes, all, limit, budget, &whole))
    return 1;
  plan.direct.is_on = 0; /* one step after the other gives the same */
  plan.vectors = (int32_t)((choice >> 40) % (uint64_t)(plan.vectors + 1));
  if (feed(&plan, text, bytes, 1 + (choice >> 24) % 40, limit, budget, &parts))
    return 1;
  /* Which record finds no memory depends on the pieces; and so does whether it is joined, as one that begins in a
   * line of which nothing was kept is not known for a part of another. */
  if (!whole.starved && !parts.starved) {
    CHECK(whole.records == parts.records && whole.bytes == parts.bytes);
    CHECK(whole.bytes == 0 || memcmp(whole.entries, parts.entries, whole.bytes) == 0);
  }
  free(whole.entries);
  free(parts.entries);
  free(seen);
  free(pieces);
  return 0;
}

/* By each kind of vectors, in memory of exactly the size that it may take. */
static inline int json_alone(const uint8_t *text, size_t bytes)
{
  uint8_t *copy = check_copy(text, bytes);
  uint8_t *first = NULL;
  size_t first_bytes = 0;
  int64_t first_pairs = 0;
  for (int32_t vectors = 0; vectors <= pw_vectors(); vectors++) {
    uint8_t *out = malloc(pw_json_bytes(bytes));
    size_t out_bytes = 0;
    CHECK(out);
    int64_t pairs = pw_json_pairs(copy, bytes, 1, vectors, out, &out_bytes);
    const uint8_t *at = out;
    for (int64_t i = 0; i < 2 * pairs; i++)
      CHECK((at = pw_msgpack_skip(at, out + out_bytes)));
    CHECK(pairs < 0 || at == out + out_bytes);
    if (!first) {
      first = out;
      first_bytes = out_bytes;
      first_pairs = pairs;
      continue;
    }
    CHECK(pairs == first_pairs && (pairs < 0 || out_bytes == first_bytes));
    CHECK(pairs <= 0 || memcmp(out, first, out_bytes) == 0);
    free(out);
  }
  free(first);
  free(copy);
  return 0;
}

#endif
