/* The log core on a corpus and mutations of it: every plan, whole and in pieces, through
 * buffers not a byte longer than the contract says. */
#include "check.h"
#include "ext/log.h"
#include "ext/msgpack.h"

#define LENGTH(array) (sizeof(array) / sizeof *(array))
#define TEXT(literal) {(const uint8_t *)(literal), sizeof(literal) - 1}
#define T "2024-02-29T23:59:58.123456789Z "
#define MUTATIONS 1500
#define CORPUS_BYTES 4096

static const struct pw_text CORPUS[] = {
  TEXT(T "stdout F plain text\n" T "stderr F \n"),
  TEXT(T "stdout P {\"a\":1,\n" T "stderr P x\n" T "stdout F \"log\":\"{}\"}\r\n" T "stderr F y\n"),
  TEXT(T "stdout F {\"a\":[1,-2,3.5e10,1e400,18446744073709551616,{\"b\":[[],{}]}],\"log\":\"q\\u00e9\\ud83d\\ude00\\n\"}\n"),
  TEXT(T "stdout F {\"a\":{\"0\":0,\"1\":0,\"2\":0,\"3\":0,\"4\":0,\"5\":0,\"6\":0,\"7\":0,\"8\":0,\"9\":0,"
         "\"a\":0,\"b\":0,\"c\":0,\"d\":0,\"e\":0,\"f\":0,\"g\":[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]}}\n"),
  TEXT(T "stdout F {\"a\":0e0,\"b\":[0e0,0e0,0e0,0e0,0e0,0e0,0e0,0e0,0e0,0e0,0e0,0e0,0e0,0e0,0e0,0e0,0e0,0e0]}\n"),
  TEXT("{\"log\":\"{\\\"a\\\":1,\\\"b\\\":\\\"x\\\\n\\\"}\\n\",\"stream\":\"stdout\",\"a\":{\"log\":1}}\n{}\n[]\n{\"a\":1}x\n"),
  TEXT("1969-12-31T23:59:59-00:01 stdout F:tag:tag x\n2106-02-07T06:28:16Z stdout F x\nnonsense\n\n\r\n"),
  TEXT("\0\0\0" T "stdout F after a hole\n" T "stdout P never ended\n" T "stderr P nor this"),
  TEXT(T "stdout F {\"a\":\"a string long enough for more than one vector of sixteen bytes \\\\n\"}\n" T),
  TEXT(T "stdout F \xff\xfe\x80 {\"\xff\":\"\xc3\"}\n" T "stdout F {\"\xff\":\"\xc3\"}\n"),
};

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
    .framing = (int32_t)(choice % 4),
    .time = key("\xa4time", -1),
    .stream = key("\xa6stream", -1),
    .logtag = key("\xa2_p", -1),
    .content = key("\xa3log", 0),
    .raw = key("\xa3log", 0),
    .truncated = key("\xa9truncated", -1),
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

/* What came out so far of one way of feeding. */
struct sum {
  uint8_t *entries;
  size_t bytes;
  size_t records;
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
  sum->entries = realloc(sum->entries, sum->bytes + batch->out_bytes + 1);
  CHECK(sum->entries);
  if (batch->out_bytes)
    memcpy(sum->entries + sum->bytes, batch->out, batch->out_bytes);
  sum->bytes += batch->out_bytes;
  sum->records += batch->records;
  return 0;
}

/* Feeds `bytes` of text in pieces of up to `piece_bytes`, each in memory of its own. */
static int feed(const struct pw_plan *plan, const uint8_t *text, size_t bytes, size_t piece_bytes,
                size_t max_record_bytes, struct sum *sum)
{
  struct pw_log_stream *stream = pw_log_open(max_record_bytes);
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
  free(batch.out);
  free(batch.work);
  return 0;
}

static int both_ways(const uint8_t *text, size_t bytes, uint64_t choice)
{
  static const size_t LIMITS[] = {0, 5, 30, 100, 1 << 14};
  struct pw_step steps[8];
  uint8_t *seen = malloc(LENGTH(WATCHES));
  struct pw_piece *pieces = NULL;
  struct pw_plan plan = make_plan(choice, steps, seen, pieces);
  pieces = plan.pieces = malloc((plan.step_count + PW_LOG_PIECES) * sizeof *pieces);
  size_t limit = LIMITS[(choice >> 16) % LENGTH(LIMITS)];
  struct sum whole = {0}, parts = {0};
  CHECK(seen && pieces);
  if (feed(&plan, text, bytes, bytes, limit, &whole) ||
      feed(&plan, text, bytes, 1 + (choice >> 24) % 40, limit, &parts))
    return 1;
  CHECK(whole.bytes == parts.bytes && whole.records == parts.records);
  CHECK(whole.bytes == 0 || memcmp(whole.entries, parts.entries, whole.bytes) == 0);
  free(whole.entries);
  free(parts.entries);
  free(seen);
  free(pieces);
  return 0;
}

static int json_alone(const uint8_t *text, size_t bytes)
{
  uint8_t *copy = check_copy(text, bytes);
  uint8_t *out = malloc(pw_json_bytes(bytes));
  size_t out_bytes = 0;
  CHECK(out);
  int64_t pairs = pw_json_pairs(copy, bytes, 1, out, &out_bytes);
  const uint8_t *at = out;
  for (int64_t i = 0; i < 2 * pairs; i++)
    CHECK((at = pw_msgpack_skip(at, out + out_bytes)));
  CHECK(pairs < 0 || at == out + out_bytes);
  free(copy);
  free(out);
  return 0;
}

/* msgpack that is cut short or none must be refused, not followed. */
static int skip_anything(uint64_t *state)
{
  uint8_t bytes[24];
  for (size_t i = 0; i < sizeof bytes; i++)
    bytes[i] = (uint8_t)check_random(state);
  bytes[0] |= 0x80;
  uint8_t *copy = check_copy(bytes, sizeof bytes);
  const uint8_t *behind = pw_msgpack_skip(copy, copy + sizeof bytes);
  CHECK(!behind || (behind > copy && behind <= copy + sizeof bytes));
  free(copy);
  return 0;
}

int check_logs(void)
{
  uint64_t state = 0x9e3779b97f4a7c15u;
  uint8_t text[CORPUS_BYTES];
  for (size_t round = 0; round < MUTATIONS; round++)
    for (size_t i = 0; i < LENGTH(CORPUS); i++) {
      size_t bytes = CORPUS[i].bytes;
      memcpy(text, CORPUS[i].at, bytes);
      if (round)
        bytes = check_mutate(text, bytes, &state);
      size_t head = bytes > sizeof T + 8 ? sizeof T + 8 : 0; /* behind `T stdout F ` */
      if (both_ways(text, bytes, check_random(&state)) || json_alone(text + head, bytes - head) ||
          json_alone(text, bytes) || skip_anything(&state)) {
        fprintf(stderr, "round %zu, text %zu: %.*s\n", round, i, (int)bytes, (const char *)text);
        return 1;
      }
    }
  return 0;
}
