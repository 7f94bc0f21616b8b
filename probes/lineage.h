/* What is remembered of each process while it lives: whom it descends from, and of which tree it is.
 *
 * A child inherits what its maker knew, at the fork, whatever becomes of its parent later: double forks, orphans,
 * CLONE_PARENT and forks by a thread change nothing. Of processes that are older than the probes it is worked
 * out once, from the parents that they have by then.
 *
 * For other programs: fill_entry() fills a struct pw_entry. */
#ifndef PODWITNESS_LINEAGE_H
#define PODWITNESS_LINEAGE_H
#include "dialect.h"
#include "events.h"
#include "place.h"

#define MAP_NOEXIST 1
#define PARENTS_CLIMBED 16 /* of a process older than the probes, to find how it came into its container */
#define LIVE_PROCESSES 32768 /* places; numbers follow each other, so the first of a process is mostly free */

/* Behind the places there is memory for what is not kept, for each CPU that the kernel may have: of the same map, so
 * that the verifier looks once only at what is done with either. */
#define SCRATCHES 3
#define SCRATCH_OF_CHILD 0
#define SCRATCH_OF_MAKER 1
#define SCRATCH_OF_WALK 2

/* Value of the map `processes`, from fork to exit. */
struct process_state {
  u32 claims;
  u32 pid;
  u64 start_ns;    /* tells apart processes that had the same pid; 0: nobody's */
  struct pw_entry entry;
  u64 home;        /* the cgroup that holds all of its container: where the first process came in */
  u64 cgroup_id;   /* where it was last seen */
  u64 mounts;      /* its mount namespace, likewise */
  u64 target;      /* of a tree that came in: the home that it entered */
  u32 home_level;  /* 0: the root of all, which is nobody's home */
  u8 is_executed;  /* entry is filled: somebody in the tree has executed a program since it came in */
  u8 ancestors;
  u8 has_before;
  u8 pad;
  struct pw_credentials before;
  struct pw_ancestor ancestor[PW_ANCESTORS]; /* parent first */
};

/* Value of the map `homes`, by cgroup id: cgroups made since the probes run, and those that processes are in. */
struct home {
  u32 is_taken; /* a first process has come */
};

_Static_assert(PW_VALUE_BYTES_processes == sizeof(struct process_state), "value of processes");
_Static_assert(PW_ENTRIES_processes >= LIVE_PROCESSES + SCRATCHES, "entries of processes");
_Static_assert(PW_VALUE_BYTES_homes == sizeof(struct home), "value of homes");

/* Two loads where the verifier lets typed pointers be followed, else a call. */
static __always_inline void copy_comm(char out[PW_COMM_BYTES], struct task_struct *task)
{
#if defined(PW_TP_BTF) && OFF_task_struct__comm % 8 == 0
  ((u64 *)out)[0] = ((u64 *)task->comm)[0];
  ((u64 *)out)[1] = ((u64 *)task->comm)[1];
#else
  bpf_probe_read_kernel(out, PW_COMM_BYTES, &task->comm);
#endif
}

static __always_inline struct process_state *process_scratch(u32 number)
{
  u32 at = LIVE_PROCESSES + bpf_get_smp_processor_id() * SCRATCHES + number;
  return map_lookup(MAP(processes), &at);
}

#define FIND_PROCESS_PLACE(pid, condition) \
  FIND_PLACE(process_state, MAP(processes), LIVE_PROCESSES, pid, condition)

/* NULL: its places were taken when it was forked. */
static __always_inline struct process_state *find_state(u32 pid, u64 start_ns)
{
  return FIND_PROCESS_PLACE(pid, place->start_ns == start_ns && place->pid == pid);
}

static __always_inline bool was_same_number(const struct process_state *place, u32 pid)
{
  return place->pid == pid && place->start_ns;
}

/* A place for a process that has none, to be filled; start_ns last, by which it is found. The first that
 * is free, or that of a process that had this number before and whose end was not seen. NULL: there is none. */
static __always_inline struct process_state *place_for_process(u32 pid)
{
  struct process_state *state =
    FIND_PROCESS_PLACE(pid, was_same_number(place, pid) || take_place(&place->claims));
  if (state) {
    state->start_ns = 0;
    state->pid = pid;
  }
  return state;
}

static __always_inline void forget_process(struct process_state *state)
{
  state->start_ns = 0;
  leave_place(&state->claims);
}

/* `start_ns`: of the process, that is of its first thread. */
static __always_inline void fill_entry(struct pw_entry *out, u32 pid, u64 start_ns)
{
  struct process_state *state = find_state(pid, start_ns);
  if (state)
    *out = state->entry;
}

static __always_inline struct cgroup *cgroup_of(struct task_struct *task)
{
  struct css_set *set = FIELD(task, cgroups);
  return FIELD(set, dfl_cgrp);
}

static __always_inline u64 id_of(struct cgroup *cgroup)
{
  struct kernfs_node *node = FIELD(cgroup, kn);
  return FIELD(node, id);
}

/* 0 where there is none so deep. For any pointer, hence by probe reads. */
static __always_inline u64 id_at_level(struct cgroup *cgroup, u32 level)
{
  cgroup = TYPED(cgroup, cgroup);
  if (level > (u32)FOLLOWED(cgroup, level))
    return 0;
#if defined(HAVE_cgroup__ancestors) /* since 6.1 */
  struct cgroup *above = 0;
  bpf_probe_read_kernel(&above, sizeof(above), (char *)cgroup + OFF_cgroup__ancestors + (u64)level * sizeof(above));
  if (!above)
    return 0;
  above = TYPED(cgroup, above);
  return FOLLOWED(FOLLOWED(above, kn), id);
#elif defined(HAVE_cgroup__ancestor_ids)
  u64 id = 0;
  bpf_probe_read_kernel(&id, sizeof(id), (char *)cgroup + OFF_cgroup__ancestor_ids + (u64)level * sizeof(id));
  return id;
#else
  return 0;
#endif
}

static __always_inline bool is_within(struct cgroup *cgroup, u64 home, u32 home_level)
{
  return home_level && id_at_level(cgroup, home_level) == home;
}

/* Inode numbers of namespaces are given again at once; this number is not. */
static __always_inline u64 mounts_of(struct task_struct *task)
{
  struct nsproxy *proxy = FIELD(task, nsproxy);
  struct mnt_namespace *mounts = FIELD(proxy, mnt_ns);
#if defined(HAVE_mnt_namespace__seq)
  return FIELD(mounts, seq);
#elif defined(HAVE_ns_common__ns_id) /* since 6.18 */
  return FIELD(mounts, ns.ns_id);
#else
  return FIELD(mounts, ns.inum);
#endif
}

/* The pid that it has in its own pid namespace is 1, and that is not the node's. */
static __always_inline bool is_first_in_pid_namespace(struct task_struct *task)
{
  struct pid *pid = FIELD(task, thread_pid);
  u32 level = FIELD(pid, level);
  int number = 0;
  if (!level)
    return false;
  bpf_probe_read_kernel(&number, sizeof(number), (char *)pid + OFF_pid__numbers + (u64)level * sizeof(struct upid) +
                                                 OFF_upid__nr);
  return number == 1;
}

static __always_inline void take_home(u64 home)
{
  struct home taken = {.is_taken = 1};
  struct home *found = map_lookup(MAP(homes), &home);
  if (!found)
    map_update(MAP(homes), &home, &taken, 0);
  else if (!found->is_taken)
    found->is_taken = 1;
}

static __always_inline void note_ancestor(struct pw_ancestor *out, struct task_struct *leader)
{
  out->start_ns = FIELD(leader, start_boottime);
  out->pid = FIELD(leader, tgid);
  out->pad = 0;
  copy_comm(out->comm, leader);
}

/* The highest in the process's own container that parents lead to. Notes them as ancestors. */
static __always_inline struct task_struct *climb(struct process_state *state, struct task_struct *leader)
{
  struct task_struct *top = leader, *task = leader;
  bool is_inside = true;
  for (u32 turn = 0; turn < PARENTS_CLIMBED; turn++) {
    struct task_struct *thread = FIELD(task, real_parent);
    struct task_struct *parent = FIELD(thread, group_leader);
    if (!FIELD(parent, tgid))
      break;
    if (turn < PW_ANCESTORS) {
      note_ancestor(&state->ancestor[turn], parent);
      state->ancestors = turn + 1;
    }
    is_inside = is_inside && is_within(cgroup_of(parent), state->home, state->home_level);
    if (is_inside)
      top = parent;
    else if (turn + 1 >= PW_ANCESTORS)
      break;
    task = parent;
  }
  return top;
}

/* The process that takes in orphans is in the same container: so that has a pid namespace of its own. */
static __always_inline bool has_own_reaper(struct process_state *state, struct task_struct *leader)
{
  struct pid *pid = FIELD(leader, thread_pid);
  u32 level = FIELD(pid, level);
  struct upid innermost = {};
  struct task_struct *reaper;
  struct css_set *set;
  bpf_probe_read_kernel(&innermost, sizeof(innermost),
                        (char *)pid + OFF_pid__numbers + (u64)level * sizeof(struct upid));
  reaper = PROBED(innermost.ns, child_reaper);
  set = PROBED(reaper, cgroups);
  return level && is_within(PROBED(set, dfl_cgrp), state->home, state->home_level);
}

/* A cgroup namespace starts at its container's cgroup, even where that has others below. */
static __always_inline void find_old_home(struct process_state *state, struct task_struct *leader)
{
  struct cgroup *own = cgroup_of(leader);
  struct nsproxy *proxy = FIELD(leader, nsproxy);
  struct cgroup_namespace *namespace = FIELD(proxy, cgroup_ns);
  struct css_set *set = FIELD(namespace, root_cset);
  struct cgroup *root = FIELD(set, dfl_cgrp);
  u32 level = FIELD(root, level);
  state->cgroup_id = id_of(own);
  state->home = state->cgroup_id;
  state->home_level = FIELD(own, level);
  if (level && is_within(own, id_of(root), level)) {
    state->home = id_of(root);
    state->home_level = level;
  }
}

/* Whether a thread of it is left that has not come to sched_process_exit. Behind that a process may stay for long,
 * to close its files or give its memory back, and still have namespaces. */
static __always_inline bool is_alive(struct task_struct *task)
{
  struct signal_struct *signal = FIELD(task, signal);
  return FIELD(signal, live.counter) != 0;
}

/* What can be known of a process that was there before the probes. Without a pid namespace of its own, nobody
 * can tell its container's first process from one that came in later. False: it has ended, or is about to. */
static __always_inline bool work_out_state(struct process_state *state, struct task_struct *leader)
{
  struct task_struct *top;
  __builtin_memset(state, 0, sizeof(*state));
  if (!FIELD(leader, nsproxy) || !is_alive(leader))
    return false;
  state->start_ns = FIELD(leader, start_boottime);
  state->mounts = mounts_of(leader);
  find_old_home(state, leader);
  top = climb(state, leader);
  state->target = state->home;
  if (is_first_in_pid_namespace(top)) {
    state->entry.tree = PW_TREE_INIT;
  } else if (has_own_reaper(state, leader)) {
    state->entry.tree = PW_TREE_ENTERED;
    state->entry.entered_by = PW_ENTERED_BOTH;
  }
  state->is_executed = 1;
  if (state->entry.tree != PW_TREE_UNKNOWN) {
    state->entry.entry_start_ns = FIELD(top, start_boottime);
    state->entry.entry_pid = FIELD(top, tgid);
  }
  return true;
}

/* What a child starts with. */
static __always_inline void inherit(struct process_state *child, const struct process_state *maker)
{
  child->entry = maker->entry;
  child->home = maker->home;
  child->cgroup_id = maker->cgroup_id;
  child->mounts = maker->mounts;
  child->target = maker->target;
  child->home_level = maker->home_level;
  child->is_executed = maker->is_executed;
  child->has_before = 0;
  child->ancestors = maker->ancestors < PW_ANCESTORS ? maker->ancestors + 1 : PW_ANCESTORS;
  __builtin_memcpy(&child->ancestor[1], &maker->ancestor[0], (PW_ANCESTORS - 1) * sizeof(struct pw_ancestor));
}

#endif
