/* Files that are watched, by their last two names: etc/shadow is a file in every container and on the host. The
 * collector writes a hash of each into the map `watched`, in which there are three forms: both names, any file of
 * a folder, a file in any folder. A fourth is the name of a folder that one of these has: who renames it gives what
 * is in it another name. */
#ifndef PODWITNESS_WATCHED_H
#define PODWITNESS_WATCHED_H
#include "dialect.h"
#include "events.h"

#define WATCHED_SLOTS 512 /* a power of two; collector/inputs/watched_names.py has the same numbers */
#define WATCHED_TRIES 4
#define NAME_WORDS 4      /* of a name 31 bytes count */
#define NAME_KEPT (8 * NAME_WORDS)
#define HASH_PRIME 0x9e3779b97f4a7c15ull
#define FOLDER_ITSELF 0xc2b2ae3d27d4eb4full /* in place of the prime that the other forms start from */

struct watched {
  u64 hashes[WATCHED_SLOTS];
};

struct names {
  u64 folder[NAME_WORDS];
  u64 file[NAME_WORDS];
};

_Static_assert(PW_VALUE_BYTES_watched == sizeof(struct watched), "value of watched");

static __always_inline u64 mixed(u64 hash, const u64 name[NAME_WORDS])
{
#pragma unroll
  for (int at = 0; at < NAME_WORDS; at++) {
    hash = (hash ^ name[at]) * HASH_PRIME;
    hash ^= hash >> 32;
  }
  return hash;
}

static __always_inline bool has_hash(struct watched *watched, u64 hash)
{
  hash |= 1; /* 0 is an empty slot */
#pragma unroll
  for (int tried = 0; tried < WATCHED_TRIES; tried++) {
    u64 at = (hash >> 32) + tried;
    BOUND(at, WATCHED_SLOTS - 1);
    if (watched->hashes[at] == hash)
      return true;
  }
  return false;
}

static __always_inline bool are_watched(struct watched *watched, const struct names *names)
{
  u64 any[NAME_WORDS] = {};
  u64 folder = mixed(HASH_PRIME, names->folder);
  return has_hash(watched, mixed(folder, names->file)) || has_hash(watched, mixed(folder, any)) ||
         has_hash(watched, mixed(mixed(HASH_PRIME, any), names->file));
}

/* `wanted`: all ones, or 0, which no hash is. So there is no branch, behind which the verifier would check anew all
 * that follows. */
static __always_inline bool is_folder_of_watched(struct watched *watched, const struct names *names, u64 wanted)
{
  return has_hash(watched, mixed(FOLDER_ITSELF, names->file) & wanted);
}

/* What is wanted of a dentry, in one read where the members lie side by side: every open pays for each. */
struct named {
  struct dentry *parent;
  u64 hash_and_length;
  const void *name;
};

static __always_inline void read_named(struct named *out, struct dentry *dentry)
{
#if OFF_dentry__d_name == OFF_dentry__d_parent + 8 && OFF_qstr__name == 8
  bpf_probe_read_kernel(out, sizeof(*out), (char *)dentry + OFF_dentry__d_parent);
#else
  out->parent = PROBED(dentry, d_parent);
  out->name = PROBED(dentry, d_name.name);
#endif
}

/* What kubelet mounts is in a folder of the time at which it was written, ..2025_11_24_01_58_00.12, which is left
 * out here. Returns the folder whose name counts. */
static __always_inline struct dentry *fill_folder(struct names *names, struct dentry *folder)
{
  struct named named = {};
  read_named(&named, folder);
  bpf_probe_read_kernel_str(names->folder, NAME_KEPT, named.name);
  if ((names->folder[0] & 0xffff) != 0x2e2e)
    return folder;
  __builtin_memset(names->folder, 0, NAME_KEPT);
  folder = named.parent;
  bpf_probe_read_kernel_str(names->folder, NAME_KEPT, PROBED(folder, d_name.name));
  return folder;
}

/* A folder that is mounted has two names: its own (none for the root of a file system), and that of the place. */
static __always_inline bool is_watched_in(struct watched *watched, struct names *names, struct dentry *folder,
                                          struct vfsmount *vfsmount)
{
  struct mount *mount = (struct mount *)((char *)vfsmount - OFF_mount__mnt);
  struct dentry *place;
  folder = fill_folder(names, folder);
  if (are_watched(watched, names))
    return true;
  if (folder != PROBED(vfsmount, mnt_root))
    return false;
  place = PROBED(mount, mnt_mountpoint);
  __builtin_memset(names->folder, 0, NAME_KEPT);
  bpf_probe_read_kernel_str(names->folder, NAME_KEPT, PROBED(place, d_name.name));
  return are_watched(watched, names);
}

static __always_inline bool is_watched_file(struct watched *watched, struct file *file)
{
  struct names names = {};
  struct named named = {};
  struct path path = {};
  bpf_probe_read_kernel(&path, sizeof(path), (char *)file + OFF_file__f_path);
  read_named(&named, path.dentry);
  bpf_probe_read_kernel_str(names.file, NAME_KEPT, named.name);
  return is_watched_in(watched, &names, named.parent, path.mnt);
}

/* The same of a path as it was passed: its last two names, or its only one and the folder that it starts in.
 * `text` is in a map and NUL ended; *last and *before are too, as in path.h, and 0 at the end. `name`: where it is not
 * NULL, that of the file if the text is empty. `with_folders`: all ones if the name of a watched file's folder counts,
 * else 0. */
static __always_inline bool is_watched_path(struct watched *watched, const char *text, volatile u16 *last,
                                            volatile u16 *before, struct dentry *folder, struct vfsmount *vfsmount,
                                            const void *name, u64 with_folders)
{
  struct names names = {};
  u64 from, to, bytes;
  *last = 0;
  *before = 0;
  TURNS(turn, PW_TEXT_BYTES) {
    u64 at = turn;
    BOUND(at, 255);
    if (!text[at])
      break;
    if (text[at] == '/') {
      *before = *last;
      *last = at + 1;
    }
  }
  to = *last;
  from = *before;
  *last = 0;
  *before = 0;
  BOUND(to, 255);
  BOUND(from, 255);
  bpf_probe_read_kernel_str(names.file, NAME_KEPT, name ? name : text + to);
  if (is_folder_of_watched(watched, &names, with_folders))
    return true;
  if (!to)
    return is_watched_in(watched, &names, folder, vfsmount);
  bytes = to - from; /* with the slash, whose place the NUL takes */
  BOUND(bytes, 255);
  if (bytes > NAME_KEPT)
    bytes = NAME_KEPT;
  bpf_probe_read_kernel_str(names.folder, bytes, text + from);
  return are_watched(watched, &names);
}

#endif
