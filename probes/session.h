/* Who came into a container from outside. A process crosses into a container when it is found in its cgroup, or
 * in its mount namespace, and its maker was not. That is looked at when it forks or executes. The first to come
 * into a cgroup is the container's own. Whoever comes later begins a tree of its own, and a session with the
 * first program that is executed in it; what the runtime does before that belongs to nobody.
 *
 *   runc create:  stage 0 is moved to the new cgroup, forks      -> the container's first process
 *   runc exec:    stage 1 joins the namespaces, forks stage 2, which is moved to the cgroup and executes
 *                                                                 -> session, both were entered
 *   nsenter:      joins namespaces, maybe forks, executes         -> session, the cgroup is the node's still */
#ifndef PODWITNESS_SESSION_H
#define PODWITNESS_SESSION_H
#include "dialect.h"
#include "emit.h"
#include "events.h"
#include "lineage.h"
#include "task.h"

#define CGROUP_LEVELS 12 /* below the root: a container in a container of a pod has about eight */

struct session_key {
  u64 start_ns;
  u64 pid;
};

/* Value of the map `sessions`. */
struct session {
  u64 since_ns;
  u64 target;
  u32 live;      /* processes */
  u32 processes; /* ever */
};

_Static_assert(PW_KEY_BYTES_sessions == sizeof(struct session_key), "key of sessions");
_Static_assert(PW_VALUE_BYTES_sessions == sizeof(struct session), "value of sessions");

static __always_inline bool is_in_session(const struct process_state *state)
{
  return state->entry.tree == PW_TREE_ENTERED && state->is_executed;
}

/* The lowest home at or above a cgroup; 0 if there is none. */
static __always_inline u64 find_home(struct cgroup *cgroup, u32 *level)
{
  TURNS(above, CGROUP_LEVELS) {
    u32 at = PROBED(cgroup, level) - above; /* a call: so no turn knows what another has found of the level */
    u64 id = at ? id_at_level(cgroup, at) : 0;
    struct home *home;
    if (!id)
      break;
    home = map_lookup(MAP(homes), &id);
    if (home && home->is_taken) {
      *level = at;
      return id;
    }
  }
  return 0;
}

/* The tree that a process is in from now on; nothing was executed in it yet. */
static __always_inline void begin_tree(struct process_state *state, u8 tree, u8 entered_by)
{
  __builtin_memset(&state->entry, 0, sizeof(state->entry));
  state->entry.tree = tree;
  state->entry.entered_by = tree == PW_TREE_ENTERED ? entered_by : PW_ENTERED_NOTHING;
  state->is_executed = 0;
}

/* A cgroup that is in the table but not taken was made since the probes run, and was empty so far. */
static __always_inline void cross_into(struct process_state *state, struct task_struct *task, struct cgroup *cgroup)
{
  u64 id = state->cgroup_id, before = state->target;
  u32 level = FIELD(cgroup, level);
  bool was_entering = state->entry.tree == PW_TREE_ENTERED && !state->is_executed;
  u64 home = find_home(cgroup, &level);
  bool is_first = !home && map_lookup(MAP(homes), &id);
  if (!home) {
    home = id;
    take_home(home);
  }
  state->home = home;
  state->home_level = level;
  state->target = home;
  if (!level)
    begin_tree(state, PW_TREE_UNKNOWN, 0);
  else if (is_first || is_first_in_pid_namespace(task))
    begin_tree(state, PW_TREE_INIT, 0);
  else
    begin_tree(state, PW_TREE_ENTERED, was_entering && before == home ? PW_ENTERED_BOTH : PW_ENTERED_CGROUP);
}

static __always_inline void join_mounts(struct process_state *state)
{
  u64 mounts = state->mounts;
  u64 *home = map_lookup(MAP(mounts), &mounts);
  bool is_entering = state->entry.tree == PW_TREE_ENTERED && !state->is_executed;
  if (!home) {
    map_update(MAP(mounts), &mounts, &state->home, 0);
  } else if (*home == state->home) {
    if (is_entering && state->entry.entered_by == PW_ENTERED_CGROUP)
      state->entry.entered_by = PW_ENTERED_BOTH;
  } else {
    begin_tree(state, PW_TREE_ENTERED, PW_ENTERED_MOUNTS);
    state->target = *home;
  }
}

/* Where the process has come to by now. */
static __always_inline void settle(struct process_state *state, struct task_struct *task)
{
  struct cgroup *cgroup = cgroup_of(task);
  u64 id = id_of(cgroup), mounts = mounts_of(task);
  if (state->cgroup_id != id) {
    state->cgroup_id = id;
    if (!is_within(cgroup, state->home, state->home_level))
      cross_into(state, task, cgroup);
  }
  if (mounts && state->mounts != mounts) { /* none: the leader has ended before other threads */
    state->mounts = mounts;
    join_mounts(state);
  }
  /* The last stage of a runtime, in a cgroup of which it was not known that it was new. */
  if (state->entry.tree == PW_TREE_ENTERED && !state->is_executed && is_first_in_pid_namespace(task))
    begin_tree(state, PW_TREE_INIT, 0);
}

static __always_inline void join_session(const struct process_state *state, u64 since_ns)
{
  struct session_key key = {.start_ns = state->entry.entry_start_ns, .pid = state->entry.entry_pid};
  struct session *session = map_lookup(MAP(sessions), &key);
  struct session begun = {.since_ns = since_ns, .target = state->target, .live = 1, .processes = 1};
  if (!session) {
    map_update(MAP(sessions), &key, &begun, MAP_NOEXIST);
    return;
  }
  __sync_fetch_and_add(&session->live, 1);
  __sync_fetch_and_add(&session->processes, 1);
}

static __always_inline void emit_session_start(const struct process_state *state, struct task_struct *task)
{
  struct pw_session *out = RESERVE(pw_session, PW_SESSION_START, state->target);
  if (!out)
    return;
  fill_task_only(&out->task, task);
  out->task.entry = state->entry;
  out->process_cgroup_id = state->cgroup_id;
  out->tty_device = fill_tty(out->tty, task);
  submit(out, PW_SESSION_START);
}

/* `task` leaves the session that `entry` is the root of. Of several that leave at once and find it empty, the
 * one that removes it is the last. */
static __always_inline void leave_session(const struct pw_entry *entry, struct task_struct *task)
{
  struct session_key key = {.start_ns = entry->entry_start_ns, .pid = entry->entry_pid};
  struct session *session = map_lookup(MAP(sessions), &key), ended;
  struct pw_session *out;
  if (!session)
    return;
  __sync_fetch_and_add(&session->live, -1);
  ended = *session;
  if (ended.live || map_delete(MAP(sessions), &key))
    return;
  out = RESERVE(pw_session, PW_SESSION_END, ended.target);
  if (!out)
    return;
  fill_task_only(&out->task, task);
  out->task.entry = *entry;
  out->process_cgroup_id = cgroup_id_of(task);
  out->duration_ns = out->head.time_ns - ended.since_ns;
  out->processes = ended.processes;
  submit(out, PW_SESSION_END);
}

/* The first program in a tree names it. */
static __always_inline void begin_entry(struct process_state *state, struct task_struct *task, u32 pid)
{
  state->is_executed = 1;
  state->entry.entry_start_ns = state->start_ns;
  state->entry.entry_pid = pid;
  if (state->entry.tree != PW_TREE_ENTERED)
    return;
  join_session(state, bpf_ktime_get_boot_ns());
  emit_session_start(state, task);
}

#endif
