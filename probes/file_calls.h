/* Calls that open, delete or rename a file, or connect to a socket: which of them mean a watched one. */
#ifndef PODWITNESS_FILE_CALLS_H
#define PODWITNESS_FILE_CALLS_H
#include "dialect.h"
#include "emit.h"
#include "events.h"
#include "watched.h"

#define AT_FDCWD -100
#define RESULT_AS_DESCRIPTOR 7
#define EPERM_RESULT -1
#define EACCES_RESULT -13
#define AF_UNIX 1
#define O_WRONLY_OR_RDWR 3
#define O_TRUNC 01000
#define O_PATH 010000000
#define O_TMPFILE_ALONE 020000000
#define FMODE_CREATED 0x100000
#define SET_ID_MODES 06000

/* The same value, of which the verifier knows nothing any more: else it would check all that follows anew for
 * each of the calls. */
static __always_inline u32 forgotten(struct pw_privilege *out, u32 recipe)
{
  *(volatile u32 *)&out->pad = recipe;
  recipe = *(volatile u32 *)&out->pad;
  out->pad = 0;
  return recipe;
}

static __always_inline struct file *open_file(struct task_struct *task, int descriptor)
{
  struct files_struct *files = CURRENT_FIELD(task, files);
  struct fdtable *table = CURRENT_FIELD(files, fdt);
  struct file *file = 0;
  if (descriptor >= 0 && (u32)descriptor < CURRENT_FIELD(table, max_fds))
    bpf_probe_read_kernel(&file, sizeof(file), (void **)CURRENT_FIELD(table, fd) + descriptor);
  return file;
}

static __always_inline bool is_file_call(u32 kind)
{
  return kind >= PW_PRIVILEGE_FILE_READ || kind == PW_PRIVILEGE_LINK;
}

/* Of a file that this very open has made, its mode if that has set-user-id or set-group-id; else 0. */
static __always_inline u32 set_id_mode_of_made(struct file *opened)
{
  struct file *file = TYPED(file, opened);
  struct inode *inode;
  u32 mode;
  if (IS_OFF(PW_PRIVILEGE_CHMOD))
    return 0;
  if (!(FOLLOWED(file, f_mode) & FMODE_CREATED) && !(FOLLOWED(file, f_flags) & O_TMPFILE_ALONE))
    return 0;
  inode = FOLLOWED(file, f_inode);
  mode = FOLLOWED(inode, i_mode);
  return mode & SET_ID_MODES ? mode : 0;
}

/* Of open(2) and its like, which are frequent: all but watched files, set-user-id ones and refusals end here. */
static __always_inline bool is_open_of_interest(struct watched *watched, struct task_struct *task, s64 result)
{
  struct file *file;
  if (result < 0)
    return result == EPERM_RESULT || result == EACCES_RESULT;
  file = open_file(task, result);
  return file && (is_watched_file(watched, file) || set_id_mode_of_made(file));
}

/* `is_request`: of io_uring, for which the kernel has copied texts and addresses already. */
static __always_inline long read_text(char *to, u32 bytes, u64 from, bool is_request)
{
  return is_request ? bpf_probe_read_kernel_str(to, bytes, (void *)from)
                    : bpf_probe_read_user_str(to, bytes, (void *)from);
}

/* An empty text stands for what the descriptor before it is open for (AT_EMPTY_PATH), if anything. */
static __always_inline bool is_text_watched(struct watched *watched, struct pw_privilege *out, u32 number,
                                            u32 descriptor, struct task_struct *task, bool is_request)
{
  u64 text = (u64)number - 1, place = descriptor - 1ull;
  struct fs_struct *fs = CURRENT_FIELD(task, fs);
  struct dentry *folder = PROBED(fs, pwd.dentry);
  struct vfsmount *mount = PROBED(fs, pwd.mnt);
  OPAQUE(text);
  OPAQUE(place);
  if (text >= PW_ARGUMENTS || read_text(out->data, PW_TEXT_BYTES + 1, out->arguments[text], is_request) <= 0)
    return false;
  out->head.time_ns = 0; /* until begin() it has the name that an empty text stands for */
  if (place < PW_ARGUMENTS && (int)out->arguments[place] != AT_FDCWD) {
    struct file *file = open_file(task, (int)out->arguments[place]);
    if (!file && out->data[0] != '/')
      return false;
    folder = PROBED(file, f_path.dentry);
    mount = PROBED(file, f_path.mnt);
    if (!out->data[0]) {
      out->head.time_ns = (u64)PROBED(folder, d_name.name);
      folder = PROBED(folder, d_parent);
    }
  }
  return is_watched_path(watched, out->data, &out->text_bytes[1], &out->text_bytes[2], folder, mount,
                         (void *)FORGOTTEN(out->head.time_ns), FORGOTTEN(out->head.cgroup_id));
}

/* In such a loop, since the verifier looks at its body less than at an ordinary one's, and much less than at two of
 * them. Of two texts (renameat, linkat) each has a descriptor of its own; that is the argument before. */
static __always_inline bool is_any_text_watched(struct watched *watched, struct pw_privilege *out, u32 recipe,
                                                struct task_struct *task, bool is_request)
{
  u64 other = (recipe & 255) ^ PW_PRIVILEGE_FILE_RENAME;
  OPAQUE(other);
  out->head.cgroup_id = ((other | -other) >> 63) - 1; /* until begin(): all ones if it is that, else 0 */
  TURNS(turn, 2) {
    u32 number = recipe >> (8 + 4 * turn) & 15, descriptor = recipe >> 20 & 15;
    if (descriptor && number)
      descriptor = number - 1;
    if (is_text_watched(watched, out, number, descriptor, task, is_request))
      return true;
  }
  return false;
}

/* Where open(2) and its like have flags. */
#define IN_OPEN_HOW 8
#define AS_CREAT 9

static __always_inline u64 open_flags(struct pw_privilege *out, u32 recipe)
{
  u32 place = recipe >> 27 & 15;
  u64 flags = O_TRUNC | 1;
  if (place == IN_OPEN_HOW)
    bpf_probe_read_user(&flags, sizeof(flags), (void *)out->arguments[2]);
  else if (place != AS_CREAT)
    flags = place == 2 ? out->arguments[1] : out->arguments[2];
  return (u32)flags;
}

/* Of an open that has opened nothing: its path starts in the folder of the argument before it, if there is one. */
static __always_inline u32 recipe_of_unopened(u32 recipe)
{
  return (recipe & ~(15u << 20 | 3u << 24)) | ((recipe >> 8 & 15) - 1) << 20 | 1 << 24;
}

/* Whether a file that is watched is meant, as far as is_open_of_interest() has not said so; and the kind. */
static __always_inline u32 kind_of_file_call(struct watched *watched, struct pw_privilege *out, u32 recipe,
                                             struct task_struct *task, bool is_request)
{
  u32 kind = recipe & 255;
  u64 flags;
  if (kind == PW_PRIVILEGE_FILE_CONNECT) {
    u16 family = 0;
    if (is_request)
      bpf_probe_read_kernel(&family, sizeof(family), (void *)out->arguments[1]);
    else
      bpf_probe_read_user(&family, sizeof(family), (void *)out->arguments[1]);
    if (family != AF_UNIX)
      return 0;
    out->arguments[5] = out->arguments[1] + sizeof(family);
  }
  if (kind != PW_PRIVILEGE_FILE_READ || (s64)out->result < 0) {
    if (!is_any_text_watched(watched, out, forgotten(out, recipe), task, is_request))
      return kind == PW_PRIVILEGE_LINK ? kind : 0; /* it may matter for other reasons */
    out->marks |= PW_OF_WATCHED;
    if (kind != PW_PRIVILEGE_FILE_READ)
      return kind;
  }
  flags = open_flags(out, recipe);
  if (flags & O_PATH) /* neither reads nor writes; what it is opened by again does */
    return 0;
  out->arguments[2] = flags;
  if ((s64)out->result >= 0) {
    struct file *file = open_file(task, (int)out->result);
    u32 mode = file ? set_id_mode_of_made(file) : 0;
    if (mode) {
      out->arguments[5] = mode;
      out->marks |= PW_MADE_SET_ID;
      return PW_PRIVILEGE_CHMOD;
    }
  }
  return flags & (O_WRONLY_OR_RDWR | O_TRUNC) ? PW_PRIVILEGE_FILE_WRITE : PW_PRIVILEGE_FILE_READ;
}

#endif
