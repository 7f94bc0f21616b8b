/* A path out of dentries: components leaf first, each NUL ended, up to the root of the mount namespace. In a
 * container that is the container's own root. */
#ifndef PODWITNESS_PATH_H
#define PODWITNESS_PATH_H
#include "dialect.h"
#include "events.h"

/* The verifier walks every turn of the loops, so these can't be as many as PATH_MAX allows. */
#define COMPONENTS_IN_MOUNT 96 /* below the first mount point: nearly always the whole path */
#define COMPONENTS_NEAR 6      /* of these: paths that are no longer take an ordinary loop, whose turns cost less */
#define COMPONENTS_ABOVE 48    /* of the mount point and what is above, each crossing counts as one */
#define NAME_BYTES 256         /* NAME_MAX and NUL */
#define SHORT_NAME_BYTES 32    /* with the NUL; the kernel has such names in the dentry itself */

/* The bytes of a word that are NUL, by their highest bit. Exact up to the first; what is above it may be wrong. */
static __always_inline u64 nul_bytes(u64 word)
{
  return (word - 0x0101010101010101ull) & ~word & 0x8080808080808080ull;
}

/* All ones if the nth word of a name of this length has none but bytes of the name. */
static __always_inline u64 is_full(u32 n, u64 length)
{
  return (u64)((s64)(8 * n + 7 - length) >> 63);
}

/* A name as it is kept in the dentry, which takes no call. 0: it is not, or was being changed. While a file is renamed
 * its dentry may have the length of one name and bytes of another: a NUL before the length would make two
 * components out of one, the second of them of what the memory held before. In loops that the verifier walks turn by
 * turn it is left out: each of its ways would be walked in each. */
static __always_inline long copy_short_name(char *to, const void *name, u32 length)
{
#if defined(WORD) && defined(STORES_UNALIGNED) && defined(TURNS_ARE_CALLS)
  u64 end = length, last = length, early;
  if (length >= SHORT_NAME_BYTES || (u64)name & 7)
    return 0;
  ((u64 *)to)[0] = WORD(name, 0);
  ((u64 *)to)[1] = WORD(name, 1);
  early = nul_bytes(((u64 *)to)[0]) & is_full(0, end);
  if (length >= 16) {
    ((u64 *)to)[2] = WORD(name, 2);
    ((u64 *)to)[3] = WORD(name, 3);
    early |= nul_bytes(((u64 *)to)[1]) | (nul_bytes(((u64 *)to)[2]) & is_full(2, end));
  }
  BOUND(last, SHORT_NAME_BYTES - 8);
  last = nul_bytes(*(u64 *)(to + last)) << (56 - 8 * (end & 7));
  return early || last != 1ull << 63 ? 0 : end + 1;
#else
  return 0;
#endif
}

/* *used must be in a map. The verifier knows nothing of what it reads from there, so all turns of a loop look
 * the same to it; in a register each would have bounds of its own, and each way out of the loop be checked anew
 * with all that follows, up to its limit of a million instructions. False: there is no room. */
static __always_inline bool append_name(char *out, volatile u16 *used, const void *name, u32 length)
{
  u64 at = *used;
  long bytes;
  if (at > PW_PATH_BYTES - NAME_BYTES)
    return false;
  BOUND(at, PW_PATH_BYTES - 1);
  bytes = copy_short_name(out + at, name, length);
  if (!bytes)
    bytes = bpf_probe_read_kernel_str(out + at, NAME_BYTES, name);
  if (bytes <= 0)
    return false;
  *used = at + bytes;
  return true;
}

/* From the mount that `vfsmount` is in to the root of the namespace, which as a rule it is itself. These pointers come
 * out of a container_of. */
static __always_inline bool append_above(char *out, volatile u16 *used, struct vfsmount *vfsmount)
{
  struct mount *mount = TYPED(mount, (char *)vfsmount - OFF_mount__mnt);
  struct dentry *dentry = 0, *root = 0;
  if (FOLLOWED(mount, mnt_parent) == mount)
    return true;
  TURNS(turn, COMPONENTS_ABOVE) {
    if (dentry == root) {
      struct mount *above = FOLLOWED(mount, mnt_parent);
      if (above == mount)
        return true;
      dentry = FOLLOWED(mount, mnt_mountpoint);
      mount = above;
      root = FOLLOWED(mount, mnt.mnt_root);
      continue;
    }
    if (!append_name(out, used, FOLLOWED(dentry, d_name.name), FOLLOWED(dentry, d_name.len)))
      return false;
    dentry = FOLLOWED(dentry, d_parent);
  }
  return false;
}

enum turned { IS_CUT, IS_WHOLE, IS_AT_ROOT, GOES_ON };

/* One component, after which *dentry is the next. One that is its own parent has no name in any directory: a memfd,
 * a pipe, a detached tree. */
static __always_inline enum turned append_one(char *out, volatile u16 *used, struct dentry **dentry,
                                              struct dentry *root)
{
  struct dentry *own = *dentry;
  if (own == root)
    return IS_AT_ROOT;
  if (!append_name(out, used, FIELD(own, d_name.name), FIELD(own, d_name.len)))
    return IS_CUT;
  *dentry = FIELD(own, d_parent);
  return *dentry == own ? IS_WHOLE : GOES_ON;
}

/* Writes at most PW_PATH_BYTES to `out`, and how many to *used; false when the root was not reached. */
static __always_inline bool write_path(char *out, volatile u16 *used, struct dentry *dentry, struct vfsmount *vfsmount)
{
  struct dentry *root = FIELD(vfsmount, mnt_root);
  enum turned turned = GOES_ON;
  _Pragma("clang loop unroll(disable)")
  for (int turn = 0; turn < COMPONENTS_NEAR && turned == GOES_ON; turn++)
    turned = append_one(out, used, &dentry, root);
  if (turned == GOES_ON) {
    TURNS(turn, COMPONENTS_IN_MOUNT - COMPONENTS_NEAR) {
      turned = append_one(out, used, &dentry, root);
      if (turned != GOES_ON)
        break;
    }
  }
  return turned == IS_AT_ROOT ? append_above(out, used, vfsmount) : turned == IS_WHOLE;
}

#endif
