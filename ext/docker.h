/* Internal: a line of docker's json-file, `{"log":"...\n","stream":"stdout","time":"..."}`.
 *
 * docker splits what a container writes in one line at 16 KiB; only the last part's
 * log ends with a newline. */
#ifndef PODWITNESS_DOCKER_H
#define PODWITNESS_DOCKER_H

#include "cri.h"

struct pw_docker_line {
  struct pw_text object;    /* all its pairs as msgpack */
  struct pw_text log;       /* in there, without the head of its str */
  struct pw_cri_head head;  /* time, stream, is_stderr, is_partial; no logtag */
};

/* Writes the pairs at `out`, which has pw_json_bytes(bytes); `vectors` as in pw_plan. Returns 0 when the line is not
 * one JSON object with a log, a stream and a time as docker writes them. */
int pw_docker_line(const uint8_t *line, size_t bytes, size_t readable_bytes, int32_t vectors, uint8_t *out,
                   struct pw_cri_clock *clock, struct pw_docker_line *found);

#endif
