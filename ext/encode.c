#include <stdlib.h>
#include <string.h>

#include "cri.h"
#include "docker.h"
#include "encode.h"
#include "log.h"
#include "plan.h"
#include "store.h"

/* A record whose last part has not come yet. */
struct open_record {
  struct pw_store text;
  int64_t first;          /* file offset of its first line; -1: no record is open */
  size_t cut_bytes;
  int is_starved;
  int is_docker;
  uint32_t seconds;
  uint32_t nanoseconds;
  size_t time_bytes;
  size_t logtag_bytes;
  uint8_t time[PW_CRI_TIME_BYTES];
  uint8_t logtag[PW_CRI_LOGTAG_BYTES];
};

/* A line longer than what the caller's buffer showed of it. */
struct open_line {
  struct pw_store text;
  int64_t first;          /* -1: none */
  size_t line_bytes;      /* of which text has the first */
  int is_starved;
  uint8_t last;
};

struct pw_log_stream {
  size_t max_record_bytes;
  struct pw_log_budget *budget;
  struct open_record records[2];  /* stdout, stderr */
  struct open_line line;
  struct pw_cri_clock clock;
  uint64_t resume_offset;         /* lines up to here are in records delivered or open */
  int64_t resume_partials[2];
};

/* One line as it is worked on. `shown` of its `bytes` are at `at`; no newline. */
struct line {
  const uint8_t *at;
  size_t shown;
  size_t bytes;
  uint8_t last;
  int is_starved;         /* more would have been shown */
  const uint8_t *readable_end;
  uint64_t start;
  uint64_t end;           /* where the next line starts */
};

/* One call. */
struct call {
  struct pw_log_stream *stream;
  const struct pw_plan *plan;
  struct pw_log_batch *batch;
  int64_t now_ns;
};

enum outcome { DONE, FULL };

struct pw_log_stream *pw_log_open(size_t max_record_bytes, struct pw_log_budget *budget)
{
  struct pw_log_stream *stream = calloc(1, sizeof *stream);
  if (!stream)
    return NULL;
  stream->max_record_bytes = max_record_bytes;
  stream->budget = budget;
  pw_log_resume(stream, 0, -1, -1);
  return stream;
}

void pw_log_close(struct pw_log_stream *stream)
{
  if (!stream)
    return;
  pw_store_clear(&stream->records[0].text, stream->budget, 0);
  pw_store_clear(&stream->records[1].text, stream->budget, 0);
  pw_store_clear(&stream->line.text, stream->budget, 0);
  free(stream);
}

uint64_t pw_log_resume(struct pw_log_stream *stream, uint64_t offset, int64_t partial_stdout,
                       int64_t partial_stderr)
{
  uint64_t start = offset;
  stream->records[0].first = stream->records[1].first = stream->line.first = -1;
  stream->resume_offset = offset;
  stream->resume_partials[0] = partial_stdout;
  stream->resume_partials[1] = partial_stderr;
  for (int i = 0; i < 2; i++)
    if (stream->resume_partials[i] >= 0 && (uint64_t)stream->resume_partials[i] < start)
      start = (uint64_t)stream->resume_partials[i];
  return start;
}

/* The longest line that can hold a whole record. */
static size_t line_limit(const struct pw_log_stream *stream)
{
  return stream->max_record_bytes + PW_LOG_SLACK_BYTES;
}

static enum outcome emit(struct call *call, const struct pw_record *record, size_t cut_bytes)
{
  if (!pw_plan_emit(call->plan, record, call->batch))
    return FULL;
  call->batch->cut_bytes += cut_bytes;
  return DONE;
}

/* The part of a line from `start` to `bytes` as content, as far as it is shown and
 * within its bound. Returns how much of it is not in the record. */
static size_t set_content(const struct call *call, const struct line *line, size_t start, size_t bytes,
                          struct pw_record *record)
{
  size_t limit = call->stream->max_record_bytes;
  size_t whole = bytes - start;
  size_t taken = (bytes < line->shown ? bytes : line->shown) - start;
  if (taken > limit)
    taken = limit;
  record->content = (struct pw_text){line->at + start, taken};
  record->readable_bytes = (size_t)(line->readable_end - record->content.at);
  record->is_cut = taken < whole;
  record->is_starved = line->is_starved && taken < whole && taken < limit;
  return whole - taken;
}

static enum outcome take_plain(struct call *call, const struct line *line, size_t bytes, int is_raw)
{
  struct pw_record record = {
    .seconds = (uint32_t)(call->now_ns / 1000000000),
    .nanoseconds = (uint32_t)(call->now_ns % 1000000000),
    .offset = line->start,
    .is_raw = is_raw,
  };
  size_t cut_bytes = set_content(call, line, 0, bytes, &record);
  return emit(call, &record, cut_bytes);
}

static enum outcome take_part(struct call *call, const struct line *line, size_t bytes,
                              const struct pw_cri_head *head)
{
  struct pw_record record = {.time = head->time, .stream = head->stream, .logtag = head->logtag,
                             .seconds = head->seconds, .nanoseconds = head->nanoseconds,
                             .offset = line->start};
  size_t cut_bytes = set_content(call, line, head->bytes, bytes, &record);
  return emit(call, &record, cut_bytes);
}

/* `last`: docker's object of the last part, NULL: none came. */
static enum outcome emit_open(struct call *call, int stream, const struct pw_docker_line *last)
{
  static const char *const STREAMS[2] = {"stdout", "stderr"};
  struct open_record *open = &call->stream->records[stream];
  struct pw_record record = {
    .time = {open->time, open->time_bytes},
    .stream = {(const uint8_t *)STREAMS[stream], 6},
    .logtag = {open->logtag, open->logtag_bytes},
    .content = {open->text.at, open->text.bytes},
    .readable_bytes = open->text.capacity,
    .seconds = open->seconds,
    .nanoseconds = open->nanoseconds,
    .offset = (uint64_t)open->first,
    .is_docker = open->is_docker,
    .is_cut = open->cut_bytes > 0,
    .is_starved = open->is_starved,
  };
  if (last) {
    record.object = last->object;
    record.work_bytes = last->object.bytes;
  }
  enum outcome outcome = emit(call, &record, open->cut_bytes);
  if (outcome == DONE) {
    open->first = -1;
    pw_store_clear(&open->text, call->stream->budget, PW_LOG_KEPT_BYTES);
  }
  return outcome;
}

static void start_open(struct open_record *open, const struct pw_cri_head *head, uint64_t offset)
{
  open->text.bytes = 0;
  open->first = (int64_t)offset;
  open->cut_bytes = 0;
  open->is_starved = 0;
  open->is_docker = 0;
  open->seconds = head->seconds;
  open->nanoseconds = head->nanoseconds;
  open->time_bytes = head->time.bytes;
  memcpy(open->time, head->time.at, head->time.bytes);
  open->logtag_bytes = head->logtag.bytes;
  if (head->logtag.bytes)
    memcpy(open->logtag, head->logtag.at, head->logtag.bytes);
}

/* Appends a part's content, of which `shown` bytes are at `at`, to its record. After a gap nothing more
 * is taken. */
static void append_part(const struct call *call, struct open_record *open, const uint8_t *at, size_t shown,
                        size_t bytes)
{
  size_t limit = call->stream->max_record_bytes;
  size_t taken = 0;
  if (!open->is_starved)
    taken = pw_store_append(&open->text, call->stream->budget, at, shown, limit);
  size_t missing = bytes - taken;
  open->cut_bytes += missing;
  open->is_starved |= missing && open->text.bytes < limit;
}

/* A part that has others before or behind it; its content has `bytes`, of which `shown` are at `at`. The
 * record is left as it was unless DONE. */
static enum outcome join_part(struct call *call, uint64_t start, const struct pw_cri_head *head,
                              const uint8_t *at, size_t shown, size_t bytes, const struct pw_docker_line *docker)
{
  struct open_record *open = &call->stream->records[head->is_stderr];
  int is_first = open->first < 0;
  if (is_first)
    start_open(open, head, start);
  size_t text_bytes = open->text.bytes, cut_bytes = open->cut_bytes;
  int is_starved = open->is_starved;
  open->is_docker = docker != NULL;
  append_part(call, open, at, shown, bytes);
  if (head->is_partial || emit_open(call, head->is_stderr, docker) == DONE)
    return DONE;
  open->text.bytes = text_bytes;
  open->cut_bytes = cut_bytes;
  open->is_starved = is_starved;
  if (is_first)
    open->first = -1;
  return FULL;
}

/* Whether a line is new, or before the resumed offset and of what was still open there. */
static int belongs(const struct call *call, const struct line *line, int stream)
{
  int64_t partial = call->stream->resume_partials[stream];
  if (line->end > call->stream->resume_offset)
    return 1;
  return call->plan->framing != PW_CRI && partial >= 0 && line->start >= (uint64_t)partial;
}

static enum outcome take_docker(struct call *call, const struct line *line, const struct pw_docker_line *found)
{
  const struct pw_cri_head *head = &found->head;
  if (!belongs(call, line, head->is_stderr))
    return DONE;
  if (head->is_partial || call->stream->records[head->is_stderr].first >= 0)
    return join_part(call, line->start, head, found->log.at, found->log.bytes, found->log.bytes, found);
  struct pw_record record = {
    .time = head->time,
    .stream = head->stream,
    .content = found->log,
    .readable_bytes = found->log.bytes,
    .object = found->object,
    .work_bytes = found->object.bytes,
    .seconds = head->seconds,
    .nanoseconds = head->nanoseconds,
    .offset = line->start,
    .is_docker = 1,
  };
  return emit(call, &record, 0);
}

static enum outcome take_cri(struct call *call, const struct line *line, size_t bytes,
                             const struct pw_cri_head *head)
{
  if (!belongs(call, line, head->is_stderr))
    return DONE;
  if (call->plan->framing != PW_CRI && (head->is_partial || call->stream->records[head->is_stderr].first >= 0)) {
    size_t shown = bytes < line->shown ? bytes : line->shown;
    return join_part(call, line->start, head, line->at + head->bytes, shown - head->bytes, bytes - head->bytes,
                     NULL);
  }
  return take_part(call, line, bytes, head);
}

/* Whether the line is docker's and whole; longer than a record it is taken as it stands. */
static int read_docker(const struct call *call, const struct line *line, size_t bytes, struct pw_docker_line *found)
{
  int32_t framing = call->plan->framing;
  if (framing != PW_DOCKER_JOINED && framing != PW_CONTAINER_JOINED)
    return 0;
  if (bytes > line->shown || bytes > call->stream->max_record_bytes)
    return 0;
  return pw_docker_line(line->at, bytes, (size_t)(line->readable_end - line->at), call->plan->vectors,
                        call->batch->work, &call->stream->clock, found);
}

static int is_skipped(const struct call *call, const struct line *line, size_t bytes)
{
  if (call->plan->skip_empty && bytes == 0)
    return 1;
  if (!call->plan->skip_long || bytes <= line_limit(call->stream))
    return 0;
  if (line->end > call->stream->resume_offset) {
    call->batch->skipped++;
    call->batch->skipped_bytes += bytes;
  }
  return 1;
}

static enum outcome take_line(struct call *call, const struct line *line)
{
  struct pw_log_stream *stream = call->stream;
  int32_t framing = call->plan->framing;
  struct pw_docker_line docker;
  struct pw_cri_head head;
  size_t bytes = line->bytes;
  if (bytes >= 2 && line->last == '\r') /* as Fluent Bit's in_tail */
    bytes--;
  if (is_skipped(call, line, bytes))
    return DONE;
  if (framing == PW_LINE || framing == PW_JSON)
    return belongs(call, line, 0) ? take_plain(call, line, bytes, 0) : DONE;
  if (read_docker(call, line, bytes, &docker))
    return take_docker(call, line, &docker);
  if (framing != PW_DOCKER_JOINED &&
      pw_cri_head(line->at, bytes < line->shown ? bytes : line->shown, &stream->clock, &head))
    return take_cri(call, line, bytes, &head);
  return line->end > stream->resume_offset ? take_plain(call, line, line->bytes, 1) : DONE;
}

/* Adds to the overlong line, or begins it. */
static void line_append(struct pw_log_stream *stream, const uint8_t *at, size_t bytes, uint64_t offset)
{
  struct open_line *open = &stream->line;
  if (open->first < 0) {
    open->first = (int64_t)offset;
    open->text.bytes = open->line_bytes = 0;
    open->is_starved = 0;
  }
  size_t limit = line_limit(stream);
  if (!open->is_starved) {
    size_t taken = pw_store_append(&open->text, stream->budget, at, bytes, limit);
    open->is_starved = taken < bytes && open->text.bytes < limit;
  }
  open->line_bytes += bytes;
  if (bytes)
    open->last = at[bytes - 1];
}

/* The overlong line is complete; the next one starts at `end`. */
static enum outcome take_open_line(struct call *call, uint64_t end)
{
  struct open_line *open = &call->stream->line;
  struct line line = {
    .at = open->text.at,
    .shown = open->text.bytes,
    .bytes = open->line_bytes,
    .last = open->last,
    .is_starved = open->is_starved,
    .readable_end = open->text.at + open->text.capacity,
    .start = (uint64_t)open->first,
    .end = end,
  };
  enum outcome outcome = take_line(call, &line);
  if (outcome == DONE) {
    open->first = -1;
    pw_store_clear(&open->text, call->stream->budget, PW_LOG_KEPT_BYTES);
  }
  return outcome;
}

/* The overlong line goes on with `bytes`, behind which is its newline at `offset`. */
static enum outcome end_open_line(struct call *call, const uint8_t *at, size_t bytes, uint64_t offset)
{
  struct open_line *open = &call->stream->line;
  struct open_line before = *open;
  line_append(call->stream, at, bytes, 0);
  enum outcome outcome = take_open_line(call, offset + 1);
  if (outcome != DONE) {
    open->text.bytes = before.text.bytes;
    open->line_bytes = before.line_bytes;
    open->is_starved = before.is_starved;
    open->last = before.last;
  }
  return outcome;
}

/* A line that the input holds whole. */
static enum outcome take_shown_line(struct call *call, const uint8_t *at, size_t bytes, const uint8_t *readable_end,
                                    uint64_t start, uint64_t end)
{
  struct line line = {.at = at, .shown = bytes, .bytes = bytes, .last = bytes ? at[bytes - 1] : 0,
                      .readable_end = readable_end, .start = start, .end = end};
  return take_line(call, &line);
}

/* The lines of the input from *at on; *at follows. */
static enum outcome take_lines(struct call *call, const uint8_t **at, const uint8_t *end, uint64_t end_offset)
{
  enum outcome outcome = DONE;
  while (outcome == DONE) {
    int goes_on = call->stream->line.first >= 0;
    while (!goes_on && *at < end && **at == 0)
      ++*at;
    const uint8_t *newline = *at < end ? memchr(*at, '\n', (size_t)(end - *at)) : NULL;
    if (!newline)
      return DONE;
    size_t bytes = (size_t)(newline - *at);
    uint64_t line_end = end_offset - (uint64_t)(end - newline);
    if (goes_on)
      outcome = end_open_line(call, *at, bytes, line_end);
    else
      outcome = take_shown_line(call, *at, bytes, end, line_end - bytes, line_end + 1);
    if (outcome == DONE)
      *at = newline + 1;
  }
  return outcome;
}

/* What is left without a newline: a line if it is the last, into the stream when it is
 * long. A line without its newline was never complete before, wherever the stream resumed. */
static enum outcome take_rest(struct call *call, const uint8_t **at, const uint8_t *end, uint64_t end_offset,
                              int is_last)
{
  size_t bytes = (size_t)(end - *at);
  uint64_t start = end_offset - bytes;
  int goes_on = call->stream->line.first >= 0;
  int is_long = bytes >= PW_LOG_REST_BYTES || bytes >= line_limit(call->stream);
  enum outcome outcome = DONE;
  if (bytes && (goes_on || (is_long && !is_last)))
    line_append(call->stream, *at, bytes, start);
  else if (bytes && is_last)
    outcome = take_shown_line(call, *at, bytes, end, start, UINT64_MAX);
  else
    return DONE;
  if (outcome == DONE)
    *at = end;
  return outcome;
}

static enum outcome flush(struct call *call)
{
  struct open_record *records = call->stream->records;
  enum outcome outcome = DONE;
  if (call->stream->line.first >= 0)
    outcome = take_open_line(call, UINT64_MAX);
  int first = records[1].first >= 0 && (records[0].first < 0 || records[1].first < records[0].first);
  for (int i = 0; i < 2 && outcome == DONE; i++)
    if (records[first ^ i].first >= 0)
      outcome = emit_open(call, first ^ i, NULL);
  return outcome;
}

static void tell_open(const struct pw_log_stream *stream, struct pw_log_batch *batch)
{
  batch->partials[0] = stream->records[0].first;
  batch->partials[1] = stream->records[1].first;
  if (batch->partials[0] < 0 && batch->partials[1] < 0)
    batch->partials[0] = stream->line.first;
}

void pw_log_begin(struct pw_log_batch *batch)
{
  batch->out_bytes = batch->consumed = 0;
  batch->records = batch->unparsed = batch->starved = 0;
  batch->cut = batch->cut_bytes = 0;
  batch->skipped = batch->skipped_bytes = 0;
  batch->full = 0;
}

int pw_log_encode(struct pw_log_stream *stream, const struct pw_plan *plan, const uint8_t *in,
                  size_t in_bytes, uint64_t offset, int flags, int64_t now_ns,
                  struct pw_log_batch *batch)
{
  pw_log_begin(batch);
  return pw_log_more(stream, plan, in, in_bytes, offset, flags, now_ns, SIZE_MAX, batch);
}

int pw_log_is_within_line(const struct pw_log_stream *stream)
{
  return stream->line.first >= 0 && stream->line.line_bytes < line_limit(stream);
}

int pw_log_more(struct pw_log_stream *stream, const struct pw_plan *plan, const uint8_t *in, size_t in_bytes,
                uint64_t offset, int flags, int64_t now_ns, size_t enough_bytes, struct pw_log_batch *batch)
{
  struct call call = {.stream = stream, .plan = plan, .batch = batch, .now_ns = now_ns};
  const uint8_t *at = in;
  const uint8_t *end = in + in_bytes;
  uint64_t end_offset = offset + in_bytes;
  enum outcome outcome = FULL;
  if (batch->work_capacity >= pw_log_work_bytes(stream->max_record_bytes))
    outcome = take_lines(&call, &at, end, end_offset);
  const int is_enough = batch->consumed + (size_t)(at - in) >= enough_bytes || batch->out_bytes >= enough_bytes;
  if (outcome == DONE && (!is_enough || stream->line.first >= 0 || flags & PW_LOG_END))
    outcome = take_rest(&call, &at, end, end_offset, flags & PW_LOG_END);
  if (outcome == DONE && flags & PW_LOG_END)
    outcome = flush(&call);
  batch->consumed += (size_t)(at - in);
  batch->full = outcome == FULL;
  tell_open(stream, batch);
  return outcome == FULL && !batch->records && !batch->consumed ? PW_E_OUTPUT_FULL : PW_OK;
}
