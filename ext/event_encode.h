/* Internal. From one checked record to the pairs of its entry. */
#ifndef PODWITNESS_EVENT_ENCODE_H
#define PODWITNESS_EVENT_ENCODE_H

#include "event_put.h"

/* PW_OK if the record is of a known kind and all its lengths lie within
 * `bytes`; else PW_E_RECORD_KIND or PW_E_RECORD_SIZE. */
int pw_event_check(const struct pw_head *head, uint32_t bytes);

/* The most bytes that the record's entry can take without the fragment. */
uint32_t pw_event_room(const struct pw_head *head);

static inline int pw_is_control(uint16_t kind) { return kind == PW_CGROUP_MKDIR || kind == PW_CGROUP_RMDIR; }
static inline int pw_is_process_event(uint16_t kind) { return !PW_IS_FLOW(kind) && !pw_is_control(kind); }

/* About what was there before the probes. */
static inline int pw_is_state(uint16_t kind) { return kind >= PW_STATE_PROCESS && kind <= PW_STATE_BOUND; }

/* A struct pw_exec. */
static inline int pw_is_exec(uint16_t kind) { return kind == PW_EXEC || kind == PW_STATE_PROCESS; }

static inline int pw_is_privilege(uint16_t kind)
{
  return kind >= PW_PRIVILEGE_SETUID && kind <= PW_PRIVILEGE_FILE_CONNECT;
}

/* Writes the entry. The record has passed pw_event_check and is no control record. */
uint8_t *pw_put_event(uint8_t *p, const struct pw_head *head, const struct pw_fragment *fragment,
                      const struct pw_event_clock *clock);

/* The record's own pairs; how many is told by pw_event_pairs. */
uint8_t *pw_put_process_event(uint8_t *p, const struct pw_head *head, uint32_t scope,
                              const struct pw_event_clock *clock);
uint8_t *pw_put_network_event(uint8_t *p, const struct pw_tcp *tcp, uint32_t scope,
                              const struct pw_event_clock *clock);
uint32_t pw_network_event_pairs(const struct pw_tcp *tcp);
uint8_t *pw_put_flow_event(uint8_t *p, const struct pw_flow *flow, uint32_t scope, const struct pw_event_clock *clock);
uint32_t pw_flow_event_pairs(const struct pw_flow *flow);
uint8_t *pw_put_bind_event(uint8_t *p, const struct pw_bind *bound, uint32_t scope, const struct pw_event_clock *clock);
uint32_t pw_bind_event_pairs(const struct pw_bind *bound);
uint8_t *pw_put_dns_event(uint8_t *p, const struct pw_dns *dns, uint32_t scope, const struct pw_event_clock *clock);
uint32_t pw_dns_event_pairs(const struct pw_dns *dns);
uint32_t pw_process_event_pairs(const struct pw_head *head);

/* 1 if the record says something to somebody. The kernel also sees who comes into a cgroup that turns out not to
 * be a container's, and tells that as a session; and signals between cgroups that turn out to be one container's. */
int pw_event_is_shipped(const struct pw_head *head, uint32_t scope, const struct pw_event_clock *clock);

/* process.thread.capabilities: a pair of up to 1600 bytes. */
uint8_t *pw_put_capability_names(uint8_t *p, const struct pw_task *task);

/* process.entry_leader: the first program of the process's tree. A pair, or none. */
uint8_t *pw_put_entry_leader(uint8_t *p, const struct pw_entry *entry, const struct pw_event_clock *clock,
                             unsigned *pairs);

/* podwitness.in_init_tree and podwitness.session: up to two pairs. */
uint8_t *pw_put_tree(uint8_t *p, const struct pw_head *head, const struct pw_entry *entry, uint32_t scope,
                     const struct pw_event_clock *clock, unsigned *pairs);

/* Key podwitness.ancestors and up to PW_ANCESTORS of them, up to the first program of the tree. */
uint8_t *pw_put_ancestors(uint8_t *p, const struct pw_exec *exec, const struct pw_event_clock *clock,
                          unsigned *pairs);

/* stat(1) writes it like this: major:minor. */
uint8_t *pw_put_device(uint8_t *p, uint32_t device);

enum pw_outcome { PW_FAILED = 0, PW_SUCCEEDED = 1, PW_NOT_KNOWN = 2 };

/* Key `event` and its map. */
uint8_t *pw_put_event_map(uint8_t *p, uint16_t kind, int outcome, uint64_t duration_ns);

/* Pairs `scope` and `cgroup_id` of the map `podwitness`: two pairs. */
uint8_t *pw_put_scope(uint8_t *p, uint32_t scope, uint64_t cgroup_id);

/* Key `user` and the map {id}. */
uint8_t *pw_put_user(uint8_t *p, uint32_t uid);

/* Key `privilege` and its map. */
uint8_t *pw_put_privilege(uint8_t *p, const struct pw_privilege *privilege, const struct pw_event_clock *clock);

/* Whether it is about a file whose whole path is known; then, key `file` and the map {path}. */
int pw_privilege_has_file(const struct pw_privilege *privilege);
uint8_t *pw_put_file(uint8_t *p, const struct pw_privilege *privilege);

/* 1 if io_uring was asked to do it: nobody knows yet whether it can. */
int pw_privilege_is_request(const struct pw_privilege *privilege);

/* Of a call that failed; else 0. */
unsigned pw_privilege_errno(const struct pw_privilege *privilege);

/* 1 for a signal to a process of the sender's own container, in whichever of its cgroups either may be. */
int pw_privilege_stays_inside(const struct pw_privilege *privilege, const struct pw_event_clock *clock);

/* ENOENT; a rare one as number. */
uint8_t *pw_put_errno(uint8_t *p, unsigned number);

/* SIGKILL, SIG34. */
uint8_t *pw_put_signal(uint8_t *p, unsigned number);

/* Four octal digits. */
uint8_t *pw_put_mode(uint8_t *p, uint32_t mode);

#endif
