/* System calls that change, use or cross a privilege, with what they returned.
 *
 * The tracepoints of all calls put every thread of the machine on the slow way in and out of the kernel: that is
 * the price, whatever is looked at. So this is attached only where it was asked for. */
#include <linux/podwitness_calls.h>

#include "call_filter.h"
#include "dialect.h"
#include "emit.h"
#include "events.h"
#include "file_calls.h"
#include "identity.h"
#include "path.h"
#include "registers.h"
#include "target.h"
#include "task.h"
#include "uring.h"

#define TEXTS 3
#define TEXTS_BYTES 1024 /* TEXTS strings, and a power of two */

#define TRACEES_WALKED 16
#define PID_FS_MAGIC 0x50494446
#define PIDTYPE_TGID 1 /* include/linux/pid_types.h */

_Static_assert(PW_VALUE_BYTES_call_scratch == sizeof(struct pw_privilege) + PW_PRIVILEGE_DATA_BYTES,
               "scratch of calls");
_Static_assert(PW_VALUE_BYTES_identities == sizeof(struct identity), "value of identities");

static __always_inline u32 find_call(u64 number, bool is_32_bit)
{
#if defined(HAVE_pt_regs__orig_ax)
  return is_32_bit ? compat_call_of(number) : call_of(number);
#else
  return is_32_bit ? 0 : call_of(number);
#endif
}

PROGRAM(sys_enter)
{
  u64 number = ctx[1];
  u32 thread, call;
  struct task_struct *task;
  struct identity before = {};
  if (!(identity_calls(number >> 6) >> (number & 63) & 1))
    return 0;
  task = CURRENT_TASK();
  call = find_call(number, is_compat(task));
  if (!(recipe_of(call) >> 26 & 1))
    return 0;
  fill_identity(before.ids, before.capabilities, task);
  thread = bpf_get_current_pid_tgid();
  map_update(MAP(identities), &thread, &before, 0);
  return 0;
}

static __always_inline void fill_before(struct pw_privilege *out, u32 thread)
{
  struct identity *before = map_lookup(MAP(identities), &thread);
  if (!before)
    return;
  __builtin_memcpy(out->before, before->ids, sizeof(out->before));
  __builtin_memcpy(out->capabilities_before, before->capabilities, sizeof(out->capabilities_before));
  out->marks |= PW_BEFORE_KNOWN;
  map_delete(MAP(identities), &thread);
}

/* Where the next text goes. */
static __always_inline u64 end_of_texts(struct pw_privilege *out)
{
  return FORGOTTEN(out->text_bytes[0]) + FORGOTTEN(out->text_bytes[1]) + FORGOTTEN(out->text_bytes[2]);
}

/* One text behind the others. */
static __always_inline void append_text(struct pw_privilege *out, u32 number, u32 place, bool is_request)
{
  u64 at = end_of_texts(out);
  long bytes;
  if (number == 0 || number > PW_ARGUMENTS)
    return;
  BOUND(at, TEXTS_BYTES - 1);
  /* One byte more than is kept and the NUL, to see whether there was more. */
  bytes = read_text(out->data + at, PW_TEXT_BYTES + 2, out->arguments[number - 1], is_request);
  if (bytes <= 0)
    return;
  bytes -= 1;
  if (bytes > PW_TEXT_BYTES) {
    out->marks |= PW_TEXT_CUT;
    bytes = PW_TEXT_BYTES;
  }
  out->text_bytes[place] = bytes;
}

/* As write_path() in path.h, for pointers that the verifier does not know the type of. */
static __always_inline bool write_probed_path(char *out, volatile u16 *used, struct dentry *dentry,
                                              struct vfsmount *vfsmount)
{
  struct dentry *root = FOLLOWED(vfsmount, mnt_root);
  TURNS(turn, COMPONENTS_IN_MOUNT) {
    struct dentry *parent;
    if (dentry == root)
      return append_above(out, used, vfsmount);
    if (!append_name(out, used, FOLLOWED(dentry, d_name.name), FOLLOWED(dentry, d_name.len)))
      return false;
    parent = FOLLOWED(dentry, d_parent);
    if (parent == dentry)
      return true;
    dentry = parent;
  }
  return false;
}

/* The path of what the descriptor stands for, or the folder that a relative path starts from. */
static __always_inline void append_path(struct pw_privilege *out, u32 recipe, struct task_struct *task)
{
  u32 number = recipe >> 20 & 15, path = recipe >> 24 & 3;
  int descriptor = number && number <= PW_ARGUMENTS ? (int)out->arguments[number - 1] : AT_FDCWD;
  u64 path_at = path == 2 ? out->text_bytes[0] : 0, at = end_of_texts(out);
  struct dentry *dentry;
  struct vfsmount *mount;
  BOUND(path_at, 255);
  if (!number && !path)
    return;
  if (number == RESULT_AS_DESCRIPTOR)
    descriptor = (int)out->result;
  if (path && out->data[path_at] == '/' && out->text_bytes[(path - 1) & 1])
    return;
  if (descriptor == AT_FDCWD) {
    struct fs_struct *fs = CURRENT_FIELD(task, fs);
    dentry = PROBED(fs, pwd.dentry);
    mount = PROBED(fs, pwd.mnt);
  } else {
    struct file *file = open_file(task, descriptor);
    if (!file)
      return;
    dentry = PROBED(file, f_path.dentry);
    mount = PROBED(file, f_path.mnt);
  }
  BOUND(at, TEXTS_BYTES - 1);
  if (!write_probed_path(out->data + at, &out->path_bytes, TYPED(dentry, dentry), TYPED(vfsmount, mount)))
    out->marks |= PW_PATH_CUT;
}

/* After PTRACE_ATTACH the process is the first in the list; the others are found by the number that the caller
 * gave: its own namespace's. */
static __always_inline void fill_tracee(struct pw_privilege *out, struct task_struct *task)
{
  struct pid *own = CURRENT_FIELD(task, thread_pid);
  u32 level = PROBED(own, level);
  struct list_head *end = (struct list_head *)((char *)task + OFF_task_struct__ptraced);
  struct list_head *node = PROBED(end, next);
  TURNS(walked, TRACEES_WALKED) {
    if (node == end || !node)
      return;
    struct task_struct *tracee = (struct task_struct *)((char *)node - OFF_task_struct__ptrace_entry);
    struct pid *pid = PROBED(tracee, thread_pid);
    struct upid number = {};
    bpf_probe_read_kernel(&number, sizeof(number),
                          (char *)pid + OFF_pid__numbers + (u64)level * sizeof(struct upid));
    if ((u32)number.nr == (u32)out->arguments[1]) {
      fill_target(out, tracee);
      return;
    }
    node = PROBED(node, next);
  }
}

/* Of pidfd_getfd(2): whom the descriptor stands for. Since 6.9 it is a file of pidfs, where that is built in. */
static __always_inline void fill_whose_pidfd(struct pw_privilege *out, struct task_struct *task)
{
  struct file *file = open_file(task, (int)out->arguments[0]);
  struct inode *inode = file ? PROBED(file, f_inode) : 0;
  struct super_block *filesystem = inode ? PROBED(inode, i_sb) : 0;
  struct pid *pid;
  struct hlist_node *link;
  if (!filesystem)
    return;
  pid = PROBED(filesystem, s_magic) == PID_FS_MAGIC ? PROBED(inode, i_private) : PROBED(file, private_data);
  link = pid ? PROBED(pid, tasks[PIDTYPE_TGID].first) : 0;
  if (link && (s64)out->result >= 0)
    fill_target(out, (struct task_struct *)((char *)link - OFF_task_struct__pid_links - sizeof(u64[2]) * PIDTYPE_TGID));
}

/* Of the calls that name a process by its number, in the caller's own namespace: whom it stands for. */
static __always_inline void fill_whose_number(struct pw_privilege *out)
{
#if defined(PW_TP_BTF) && defined(FUNCTION_bpf_task_from_vpid)
  struct task_struct *target;
  u64 number = out->arguments[0];
  if (out->call == CALL_ptrace && number == PTRACE_TRACEME)
    return;
  if (out->call == CALL_ptrace)
    number = out->arguments[1];
  else if (out->call != CALL_process_vm_writev && out->call != CALL_kill && out->call != CALL_tgkill)
    return;
  target = task_from_vpid((s32)number);
  if (!target)
    return;
  fill_target(out, target);
  task_release(target);
#endif
}

static __always_inline void report(struct pw_privilege *out, struct task_struct *task, u32 recipe, bool is_request)
{
  u32 kind = recipe & 255;
  u64 bytes;
  append_text(out, recipe >> 8 & 15, 0, is_request);
  if ((kind == PW_PRIVILEGE_SYMLINK || kind == PW_PRIVILEGE_LINK) && !(out->marks & PW_OF_WATCHED) &&
      !is_place_that_matters(out->data))
    return;
  if (!begin(&out->head, kind, bpf_get_current_cgroup_id()))
    return;
  recipe = forgotten(out, recipe); /* which class it is of made a difference there */
  kind = recipe & 255;
  append_text(out, recipe >> 12 & 15, 1, is_request);
  append_text(out, recipe >> 16 & 15, 2, is_request);
  append_path(out, recipe, task);
  if (kind == PW_PRIVILEGE_PTRACE && out->call == CALL_ptrace)
    fill_tracee(out, task);
  else if (kind == PW_PRIVILEGE_PTRACE)
    fill_whose_pidfd(out, task);
  if (!is_request && !(out->marks & PW_TARGET_KNOWN))
    fill_whose_number(out);
  fill_task(&out->task, task);
  bytes = end_of_texts(out) + FORGOTTEN(out->path_bytes);
  BOUND(bytes, PW_PRIVILEGE_DATA_BYTES - 1);
  bytes += sizeof(*out);
  out->head.record_bytes = bytes;
  if (PW_IS_FLOW(kind)) /* never; so the compiler knows the ring */
    return;
  output(out, kind, bytes);
}

PROGRAM(sys_exit)
{
  struct pt_regs *registers = ARGUMENT(0);
  u64 number = call_number(registers);
  struct task_struct *task;
  struct pw_privilege *out;
  struct watched *watched;
  u32 call, recipe, zero = 0;
  bool is_32_bit;
  if (!(wanted_calls(number >> 6) >> (number & 63) & 1))
    return 0;
  task = CURRENT_TASK();
  is_32_bit = is_compat(task);
  call = find_call(number, is_32_bit);
  recipe = recipe_of(call);
  if (!recipe)
    return 0;
  watched = map_lookup(MAP(watched), &zero);
  if (!watched || ((recipe & 255) == PW_PRIVILEGE_FILE_READ && !is_open_of_interest(watched, task, ctx[1])))
    return 0;
  out = map_lookup(MAP(call_scratch), &zero);
  if (!out)
    return 0;
  __builtin_memset(out, 0, sizeof(*out));
  out->call = call;
  out->result = ctx[1];
  recipe = forgotten(out, recipe);
  if (is_32_bit)
    out->marks |= PW_PROGRAM_I386;
  fill_arguments(out->arguments, registers, is_32_bit);
  if (is_file_call(recipe & 255)) {
    u32 kind = kind_of_file_call(watched, out, recipe, task, false);
    if (!kind)
      return 0;
    if ((recipe >> 20 & 15) == RESULT_AS_DESCRIPTOR && (s64)out->result < 0)
      recipe = recipe_of_unopened(recipe);
    recipe = forgotten(out, (recipe & ~255u) | kind);
  }
  if (!is_seen(out, recipe & 255, recipe >> 20 & 15 && recipe >> 24 & 3))
    return 0;
  if (recipe >> 26 & 1) {
    fill_before(out, bpf_get_current_pid_tgid());
    fill_identity(out->after, out->capabilities_after, task);
  }
  report(out, task, recipe, false);
  return 0;
}

PROGRAM(io_uring_submit_req)
{
  struct io_kiocb *request = ARGUMENT(0);
  u32 call = call_of_request(request), recipe = recipe_of_request(call), zero = 0;
  struct task_struct *task;
  struct pw_privilege *out;
  struct watched *watched;
  if (!call)
    return 0;
  watched = map_lookup(MAP(watched), &zero);
  out = map_lookup(MAP(call_scratch), &zero);
  if (!watched || !out)
    return 0;
  __builtin_memset(out, 0, sizeof(*out));
  task = CURRENT_TASK();
  out->call = call;
  out->marks = PW_BY_IO_URING;
  fill_request(out, number_of(request), FORGOTTEN(out->call));
  recipe = kind_of_request(watched, out, forgotten(out, recipe), task);
  if (recipe)
    report(out, task, forgotten(out, recipe), true);
  return 0;
}
