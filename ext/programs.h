/* Which program a process runs: learnt from its exec, inherited at a fork, told in all its records. */
#ifndef PODWITNESS_PROGRAMS_H
#define PODWITNESS_PROGRAMS_H

#include <linux/types.h>
#include <stdint.h>

#include "probes/events.h"

/* Kept of a program; what is longer is cut, paths at their root's end. */
#define PW_PROGRAM_PATH_BYTES 1024
#define PW_PROGRAM_ARGS_BYTES 1024

struct pw_programs;

/* For up to `max_processes`, whose programs take `max_bytes` together. When either is reached, those that have
 * ended are forgotten, then those that nobody asked for since they were last passed over. Of those that have ended
 * an eighth of `max_processes` is kept, the last. NULL: out of memory. */
struct pw_programs *pw_programs_new(uint32_t max_processes, uint64_t max_bytes);
void pw_programs_free(struct pw_programs *programs);

/* A checked record, in the order of its ring: PW_EXEC, PW_FORK and PW_EXIT change what is known. A
 * PW_STATE_PROCESS only adds what is not. */
void pw_programs_note(struct pw_programs *programs, const struct pw_head *head);

/* Records of processes were lost: of what was learnt before, only that is believed of which the name still fits. */
void pw_programs_doubt(struct pw_programs *programs, uint64_t time_ns);

/* Exits were not told: who had a number before may have it no more. What was inherited from whom only the number was
 * told is believed only if the name still fits. */
void pw_programs_doubt_numbers(struct pw_programs *programs, uint64_t time_ns);

/* The records of processes have been noted up to this time; of what is later the name has to fit. */
void pw_programs_known_until(struct pw_programs *programs, uint64_t time_ns);

/* Executables of the node whose use of watched files is not told: whole paths, each NUL ended. It holds for
 * processes in the mount namespace of process 1, or of the first PW_STATE_PROCESS as long as that one is not noted;
 * any other may have another file of that name. The paths stay the caller's. Returns PW_E_MEMORY, with none exempt,
 * or PW_OK. */
int pw_programs_exempt(struct pw_programs *programs, const char *paths, uint32_t bytes);

uint32_t pw_programs_count(const struct pw_programs *programs);
uint64_t pw_programs_bytes(const struct pw_programs *programs);

/* How often a process that lives, as far as is known, lost its program or got none because there was no room. */
uint64_t pw_programs_forgotten(const struct pw_programs *programs);

#endif
