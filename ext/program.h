/* Internal. What the encoder asks the table of programs. */
#ifndef PODWITNESS_PROGRAM_H
#define PODWITNESS_PROGRAM_H

#include "programs.h"

/* A byte becomes four at most as an escape; the rest are keys, heads and a number. */
#define PW_PROGRAM_PAIRS_BYTES (4 * (PW_PROGRAM_PATH_BYTES + PW_PROGRAM_ARGS_BYTES) + 64)

struct pw_program { /* key value key value ... of the map `process`: executable, args, args_count */
  uint32_t users;
  uint32_t pair_count;
  uint32_t pairs_bytes;
  uint32_t executable_at; /* the path as a msgpack string */
  uint32_t executable_bytes; /* with its head; 0: not known whole */
  char comm[PW_COMM_BYTES]; /* the name that it gave the process */
  uint8_t pairs[];
};

struct pw_actor { /* the process that a record is about */
  uint64_t start_ns;
  uint64_t since_ns; /* from then on it was known to be the one */
  uint64_t time_ns;
  const char *comm;
  uint32_t pid;
};

/* Whether that is a use of a watched file, by a program that is exempt for sure. */
int pw_programs_is_exempt(struct pw_programs *programs, const struct pw_privilege *privilege);

/* NULL where none is known, or it can't be told which of two it was. Valid until the table is changed. */
const struct pw_program *pw_programs_find(struct pw_programs *programs, const struct pw_actor *actor);

#endif
