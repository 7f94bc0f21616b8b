/* Log bytes to msgpack entries: [EventTime, record] one after the other.
 *
 * Sans-I/O: bytes of a file go in, entries come out in the caller's buffer. What
 * is done to a record is the plan (collector/plan.py tells what each part means,
 * tests/reference/plan.py says it in plain Python).
 *
 * A stream takes memory when partial lines arrive, at most 3 * (max_record_bytes +
 * 2 * PW_LOG_SLACK_BYTES): a record open on stdout, one on stderr, an overlong line.
 * All streams share a budget; where it is used up a record is cut. Nothing else
 * allocates. */
#ifndef PODWITNESS_LOG_H
#define PODWITNESS_LOG_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"

#define PW_LOG_SLACK_BYTES 256   /* of a line besides its content, and of a buffer besides its text */
#define PW_LOG_REST_BYTES 65536  /* an unterminated rest this long is taken into the stream */
#define PW_LOG_KEPT_BYTES 65536  /* of each buffer of a stream, when the record is out */
#define PW_LOG_END 1             /* flag: nothing follows, what is open is a record now */

enum pw_framing {
  PW_LINE = 0,
  PW_CRI = 1,
  PW_CRI_JOINED = 2,
  PW_JSON = 3,
  PW_DOCKER_JOINED = 4,    /* docker's json-file, parts joined */
  PW_CONTAINER_JOINED = 5, /* each line is either docker's or CRI's */
};
/* How many bytes of JSON are looked at in one step. All kinds give the same bytes. */
enum pw_vectors { PW_VECTORS_NONE = 0, PW_VECTORS_16 = 1, PW_VECTORS_32 = 2 };
enum pw_op { PW_APPEND = 0, PW_ADD = 1, PW_SET = 2, PW_REMOVE = 3, PW_MERGE = 4 };

struct pw_text {
  const uint8_t *at;
  size_t bytes;
};

/* A key as a msgpack str, minimal header; bytes == 0: the pair is left out.
 * `watch` is its index in pw_plan.watches, -1 when no step looks at that key. */
struct pw_key {
  struct pw_text packed;
  int32_t watch;
};

struct pw_step {
  int32_t op;             /* enum pw_op */
  int32_t watch;          /* of the key, for PW_MERGE of the source key; -1: nobody looks */
  struct pw_text packed;  /* pairs as msgpack, key and value; empty for PW_REMOVE and PW_MERGE */
  size_t key_bytes;       /* how much of packed is the first key */
  size_t pairs;           /* how many pairs packed holds; over 1 only for PW_APPEND with watch -1 */
};

struct pw_merge {
  struct pw_key under;    /* packed.bytes == 0: the pairs are lifted */
  int32_t keep;
  int32_t trim;
};

/* What the steps come to for a record that has the pairs of its framing and perhaps those of an object in its
 * content, none of whose keys a step looks at. Keys as msgpack str; bytes == 0: the pair is left out. */
struct pw_direct {
  int32_t is_on;          /* 0: the steps are applied one by one, which gives the same */
  int32_t merges;         /* PW_MERGE is the first step, of the content, and lifts the pairs */
  struct pw_text time;
  struct pw_text stream;
  struct pw_text logtag;
  struct pw_text content; /* of one that is not merged, or kept */
  struct pw_text tail;    /* constant pairs at the end */
  size_t tail_pairs;
};

/* One run of pairs of the record under construction. Private to the encoder. */
struct pw_piece {
  const uint8_t *key;
  const uint8_t *value;
  size_t key_bytes;
  size_t value_bytes;
  size_t pairs;
  int32_t kind;
  int32_t watch;
};

/* Not shared between threads: seen and pieces are written during a call. */
struct pw_plan {
  int32_t framing;        /* enum pw_framing */
  int32_t vectors;        /* enum pw_vectors: pw_vectors() or less */
  struct pw_key time;     /* keys of what the framing found, in this order */
  struct pw_key stream;
  struct pw_key logtag;
  struct pw_key content;
  struct pw_key raw;      /* of a line that does not fit the framing */
  struct pw_key truncated;
  struct pw_key offset;   /* where in the file the record's first line starts */
  int32_t skip_long;      /* lines over the bound are left out and counted, not cut */
  int32_t skip_empty;     /* lines without a byte are no records */
  const struct pw_step *steps;
  size_t step_count;
  struct pw_merge merge;
  struct pw_direct direct;
  const struct pw_text *watches; /* packed keys that steps look at */
  size_t watch_count;
  size_t noted_count;     /* the first of them: what an object has of these is noted in seen */
  uint8_t *seen;          /* watch_count bytes, all 0 before a call */
  struct pw_piece *pieces; /* step_count + PW_LOG_PIECES */
};

#define PW_LOG_PIECES 14

struct pw_log_batch {
  uint8_t *out;           /* in: entries are written here */
  size_t out_capacity;    /* in: at least pw_log_out_bytes() */
  uint8_t *work;          /* in: scratch */
  size_t work_capacity;   /* in: at least pw_log_work_bytes() */
  size_t wider_bytes;     /* 0 before the first call: by how much the last object's header exceeded a byte */
  size_t out_bytes;
  size_t consumed;        /* of the input: whole lines, and an overlong rest */
  size_t records;
  size_t unparsed;        /* lines that did not fit the framing, kept raw */
  size_t cut;             /* records cut: at max_record_bytes, or starved */
  size_t cut_bytes;       /* what they lost */
  size_t starved;         /* those of them that were cut as the budget was used up */
  size_t skipped;         /* lines left out by skip_long */
  size_t skipped_bytes;
  int64_t partials[2];    /* file offset of the first line of an open record; -1: none */
  int32_t full;           /* stopped as the output is full: call again with what was not consumed */
};

/* What the open records of all streams may take together; outlives them. */
struct pw_log_budget {
  size_t limit_bytes;
  size_t taken_bytes;
};

struct pw_log_stream;

/* A stream with nothing open; NULL: out of memory. `max_record_bytes` bounds a
 * record's content; what exceeds it is cut, counted and marked. */
struct pw_log_stream *pw_log_open(size_t max_record_bytes, struct pw_log_budget *budget);
void pw_log_close(struct pw_log_stream *stream);

/* The stream starts anew at a saved position (collector/delivery/chunk.py,
 * Position). Returns the file offset where reading restarts. Lines from a partial
 * to `offset` come again where they are of that stream (of no stream: of stdout). */
uint64_t pw_log_resume(struct pw_log_stream *stream, uint64_t offset, int64_t partial_stdout,
                       int64_t partial_stderr);

/* Encodes the whole lines of `in`, which starts at file offset `offset`: where the
 * last call's consumed bytes ended, or where pw_log_resume() said. An unterminated
 * rest is left to the next call unless it is PW_LOG_REST_BYTES (or a whole longest
 * line) long, so an input buffer larger than that always makes progress. NULs at
 * the start of a line (the hole of a copytruncate) are passed over. `now_ns` is the
 * time of records that have none of their own. With PW_LOG_END and nothing `full`,
 * everything is consumed and nothing stays open.
 *
 * Returns PW_OK, or PW_E_OUTPUT_FULL when nothing was consumed, as the first record
 * does not fit; the same call with more room goes on from there. */
int pw_log_encode(struct pw_log_stream *stream, const struct pw_plan *plan, const uint8_t *in,
                  size_t in_bytes, uint64_t offset, int flags, int64_t now_ns,
                  struct pw_log_batch *batch);

/* What any record needs: the plan's constants, the content as text, and two times
 * 9/4 of it as msgpack (the longest that JSON grows: `0e0,` to a float64), once for
 * the record and once for what is merged into it. */
size_t pw_log_out_bytes(const struct pw_plan *plan, size_t max_record_bytes);
size_t pw_log_work_bytes(size_t max_record_bytes);

/* The most that this processor can. */
int32_t pw_vectors(void);

/* One JSON object as the pairs of a msgpack map, without the map's header. `out`
 * holds at least pw_json_bytes(bytes); `vectors` as in pw_plan. Returns the number of
 * pairs, or -1 when the text is not exactly one object that msgpack can hold. */
int64_t pw_json_pairs(const uint8_t *text, size_t bytes, int trim, int32_t vectors, uint8_t *out,
                      size_t *out_bytes);
size_t pw_json_bytes(size_t bytes);

#endif
