/* Internal: a plan applied to one record, and the record written out. */
#ifndef PODWITNESS_PLAN_H
#define PODWITNESS_PLAN_H

#include "log.h"

/* What the framing found. */
struct pw_record {
  struct pw_text time;
  struct pw_text stream;
  struct pw_text logtag;
  struct pw_text content;
  struct pw_text object;  /* docker: pairs as msgpack, in the batch's work memory up to `work_bytes` */
  size_t work_bytes;
  size_t readable_bytes;  /* from content.at on, at least content.bytes */
  uint32_t seconds;
  uint32_t nanoseconds;
  uint64_t offset;        /* in the file, of its first line */
  int is_docker;
  int is_raw;             /* the line did not fit the framing: content is all of it */
  int is_cut;
  int is_starved;         /* cut as there was no memory for more */
};

/* Writes the entry at batch->out + batch->out_bytes and counts it. Returns 0 and
 * writes nothing of account when there is no room for it. */
int pw_plan_emit(const struct pw_plan *plan, const struct pw_record *record, struct pw_log_batch *batch);

#endif
