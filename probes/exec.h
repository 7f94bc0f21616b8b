/* What an exec was: binary, arguments, paths, interpreter, environment, terminal and leaders. */
#ifndef PODWITNESS_EXEC_H
#define PODWITNESS_EXEC_H
#include "dialect.h"
#include "events.h"
#include "lineage.h"
#include "path.h"

#define OVERLAYFS_MAGIC 0x794c7630
#define TMPFS_MAGIC 0x01021994

#define PIDTYPE_TGID 1 /* include/linux/pid_types.h */
#define PIDTYPE_PGID 2
#define PIDTYPE_SID 3
#define HLIST_NODE_BYTES 16

/* What the verifier is told of offsets in the data: a power of two less one. Comparisons do the rest. */
#define DATA_MASK 32767
#define PARTS_BYTES (PW_ARGS_BYTES + 2 * PW_PATH_BYTES + PW_FILENAME_BYTES + PW_INTERPRETER_BYTES + 2)

static __always_inline bool is_in_upper_layer(struct inode *inode, u64 magic)
{
#ifdef HAVE_ovl_inode____upperdentry
  void *upper = 0;
  if (magic == OVERLAYFS_MAGIC)
    bpf_probe_read_kernel(&upper, sizeof(upper),
                          (char *)inode - OFF_ovl_inode__vfs_inode + OFF_ovl_inode____upperdentry);
  return upper != 0;
#else
  return false;
#endif
}

/* A memfd is the root of a tree of its own and never had a link; a deleted file has a parent still, but is in
 * no hash bucket of it (d_unhashed) or has lost all links. */
static __always_inline void fill_binary(struct pw_exec *exec, struct file *file)
{
  struct inode *inode = FIELD(file, f_inode);
  struct super_block *fs = FIELD(inode, i_sb);
  struct dentry *dentry = FIELD(file, f_path.dentry);
  u64 magic = FIELD(fs, s_magic);
  bool unlinked = FIELD(inode, i_nlink) == 0;
  exec->inode = FIELD(inode, i_ino);
  exec->device = FIELD(fs, s_dev);
  exec->mode = FIELD(inode, i_mode);
  if (is_in_upper_layer(inode, magic))
    exec->head.flags |= PW_UPPER_LAYER;
  if (FIELD(dentry, d_parent) == dentry) {
    if (unlinked && magic == TMPFS_MAGIC)
      exec->head.flags |= PW_MEMFD;
  } else if (unlinked || !FIELD(dentry, d_hash.pprev)) {
    exec->head.flags |= PW_DELETED;
  }
}

/* The kernel has just written argv to the new stack, one string after the other. */
static __always_inline void fill_args(struct pw_exec *exec, struct mm_struct *mm)
{
  u64 start = FIELD(mm, arg_start);
  u64 total = FIELD(mm, arg_end) - start;
  u64 kept = total;
  exec->args_total_bytes = total;
  if (total > PW_ARGS_BYTES) {
    kept = PW_ARGS_BYTES;
    exec->head.flags |= PW_ARGS_CUT;
  }
  BOUND(kept, 2 * PW_ARGS_BYTES - 1);
  if (kept > PW_ARGS_BYTES)
    kept = PW_ARGS_BYTES;
  if (bpf_probe_read_user(exec->data, kept, (void *)start)) {
    exec->head.flags |= PW_ARGS_UNREADABLE;
    kept = 0;
  }
  exec->args_bytes = kept;
}

/* Where the next path goes. The verifier has to see that the longest still fits. */
#define PATH_START(at) \
  BOUND(at, DATA_MASK); \
  if (at > PW_ARGS_BYTES + PW_PATH_BYTES) \
    return;

static __always_inline void append_exe(struct pw_exec *exec, u64 at, struct file *file)
{
  PATH_START(at);
  if (!write_path(exec->data + at, &exec->exe_bytes, FIELD(file, f_path.dentry), FIELD(file, f_path.mnt)))
    exec->head.flags |= PW_EXE_CUT;
}

static __always_inline void append_cwd(struct pw_exec *exec, u64 at, struct fs_struct *fs)
{
  PATH_START(at);
  if (!write_path(exec->data + at, &exec->cwd_bytes, FIELD(fs, pwd.dentry), FIELD(fs, pwd.mnt)))
    exec->head.flags |= PW_CWD_CUT;
}

/* A name that the kernel was given: `most` bytes of it, or fewer. One byte more than is kept and the NUL are
 * read, to see whether it was longer. */
static __always_inline u64 append_given(struct pw_exec *exec, u64 at, const char *name, u64 most, u16 cut)
{
  long bytes;
  BOUND(at, DATA_MASK);
  if (at > PARTS_BYTES - most - 2)
    return 0;
  bytes = bpf_probe_read_kernel_str(exec->data + at, most + 2, name);
  if (bytes <= 0)
    return 0;
  if (bytes - 1 > most) {
    exec->head.flags |= cut;
    return most;
  }
  return bytes - 1;
}

/* `interp` is the same string as `filename` unless the program was a script, or is run by binfmt_misc. */
static __always_inline void append_interpreter(struct pw_exec *exec, u64 at, struct linux_binprm *binary)
{
  const char *interpreter = FIELD(binary, interp);
  if (interpreter == FIELD(binary, filename))
    return;
  exec->head.flags |= PW_SCRIPT;
  exec->interpreter_bytes = append_given(exec, at, interpreter, PW_INTERPRETER_BYTES, PW_INTERPRETER_CUT);
}

#ifdef PW_TELL_ENVIRONMENT
/* What env(1), sudo and the like add stands last. */
static __always_inline u64 append_environment(struct pw_exec *exec, u64 at, struct mm_struct *mm)
{
  u64 start = FIELD(mm, env_start), total = FIELD(mm, env_end) - start, kept = total;
  BOUND(at, DATA_MASK);
  if (at > PARTS_BYTES)
    return 0;
  exec->environment_total_bytes = total;
  if (total > PW_ENVIRONMENT_BYTES) {
    kept = PW_ENVIRONMENT_BYTES;
    start += total - kept;
    exec->head.flags |= PW_ENVIRONMENT_CUT;
  }
  BOUND(kept, 2 * PW_ENVIRONMENT_BYTES - 1);
  if (kept > PW_ENVIRONMENT_BYTES || bpf_probe_read_user(exec->data + at, kept, (void *)start))
    return 0;
  return kept;
}
#endif

static __always_inline u64 append_ancestors(struct pw_exec *exec, u64 at, const struct process_state *state)
{
  u64 bytes = state->ancestors * sizeof(struct pw_ancestor);
  BOUND(at, DATA_MASK);
  if (at > PW_EXEC_DATA_BYTES - sizeof(state->ancestor) || bytes > sizeof(state->ancestor))
    return 0;
  if (bpf_probe_read_kernel(exec->data + at, bytes, state->ancestor))
    return 0;
  exec->ancestors = state->ancestors;
  return bytes;
}

/* The number that the node gives, and when that process started, if it is still there: no other process gets the
 * number as long as the group has one left. */
static __always_inline u32 fill_leader(u64 *start_ns, struct pid *number)
{
  struct pid *leader = TYPED(pid, number);
  struct hlist_node *link = FOLLOWED(leader, tasks[PIDTYPE_TGID].first);
  struct upid *upid = TYPED(upid, (char *)leader + OFF_pid__numbers);
  struct task_struct *task;
  if (link) {
    task = TYPED(task_struct, (char *)link - OFF_task_struct__pid_links - PIDTYPE_TGID * HLIST_NODE_BYTES);
    *start_ns = FOLLOWED(task, start_boottime);
  }
  return FOLLOWED(upid, nr);
}

static __always_inline void fill_leaders(struct pw_exec *exec, struct task_struct *task)
{
  struct signal_struct *signal = FIELD(task, signal);
  exec->group_leader_pid = fill_leader(&exec->group_leader_start_ns, FIELD(signal, pids[PIDTYPE_PGID]));
  exec->session_leader_pid = fill_leader(&exec->session_leader_start_ns, FIELD(signal, pids[PIDTYPE_SID]));
}

static __always_inline void fill_old_credentials(struct pw_exec *exec, struct process_state *state)
{
  if (!state->has_before)
    return;
  state->has_before = 0;
  exec->before = state->before;
  exec->head.flags |= PW_CREDENTIALS_CHANGED;
}

#endif
