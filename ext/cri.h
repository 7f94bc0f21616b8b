/* Internal: the head of a CRI log line, `TIME SP STREAM SP TAG[:MORE] SP CONTENT`. */
#ifndef PODWITNESS_CRI_H
#define PODWITNESS_CRI_H

#include "log.h"

#define PW_CRI_TIME_BYTES 35    /* 2006-01-02T15:04:05.999999999+07:00 */
#define PW_CRI_LOGTAG_BYTES 64  /* longer is no tag of a runtime */

struct pw_cri_head {
  struct pw_text time;
  struct pw_text stream;
  struct pw_text logtag;
  uint32_t seconds;        /* since 1970, to 2106 */
  uint32_t nanoseconds;
  int is_stderr;
  int is_partial;
  size_t bytes;            /* the content starts here */
};

/* The last minute that was worked out: lines that follow are mostly of the same. */
struct pw_cri_clock {
  uint8_t minute[16];      /* as in the line, 2006-01-02T15:04; zeros at first */
  int64_t seconds;
};

/* The RFC 3339 time at the start of a text, as below. Returns the byte behind it, NULL if there is none. */
const uint8_t *pw_cri_time(const uint8_t *text, const uint8_t *end, struct pw_cri_clock *clock,
                           struct pw_cri_head *head);

/* Returns 0 when the line does not start with such a head, or with a time that is no
 * RFC 3339 time of the years 1970 to 2106 (0 to 9 digits of a fraction; Z or +hh:mm). */
int pw_cri_head(const uint8_t *line, size_t bytes, struct pw_cri_clock *clock, struct pw_cri_head *head);

#endif
