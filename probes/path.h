/* A path out of dentries: components leaf first, each NUL ended, up to the root of the mount namespace. In a
 * container that is the container's own root. */
#ifndef PODWITNESS_PATH_H
#define PODWITNESS_PATH_H
#include "dialect.h"
#include "events.h"

/* The verifier walks every turn of the loops, so these can't be as many as PATH_MAX allows. */
#define COMPONENTS_IN_MOUNT 96 /* below the first mount point: nearly always the whole path */
#define COMPONENTS_ABOVE 48    /* of the mount point and what is above, each crossing counts as one */
#define NAME_BYTES 256         /* NAME_MAX and NUL */

/* *used must be in a map. The verifier knows nothing of what it reads from there, so all turns of a loop look
 * the same to it; in a register each would have bounds of its own, and each way out of the loop be checked anew
 * with all that follows, up to its limit of a million instructions. False: there is no room. */
static __always_inline bool append_name(char *out, volatile u16 *used, const void *name)
{
  u64 at = *used;
  long bytes;
  if (at > PW_PATH_BYTES - NAME_BYTES)
    return false;
  BOUND(at, PW_PATH_BYTES - 1);
  bytes = bpf_probe_read_kernel_str(out + at, NAME_BYTES, name);
  if (bytes <= 0)
    return false;
  *used = at + bytes;
  return true;
}

/* From the mount that `vfsmount` is in to the root of the namespace. These pointers come out of a container_of. */
static __always_inline bool append_above(char *out, volatile u16 *used, struct vfsmount *vfsmount)
{
  struct mount *mount = TYPED(mount, (char *)vfsmount - OFF_mount__mnt);
  struct dentry *dentry = 0, *root = 0;
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
    if (!append_name(out, used, FOLLOWED(dentry, d_name.name)))
      return false;
    dentry = FOLLOWED(dentry, d_parent);
  }
  return false;
}

/* Writes at most PW_PATH_BYTES to `out`, and how many to *used; false when the root was not reached. */
static __always_inline bool write_path(char *out, volatile u16 *used, struct dentry *dentry, struct vfsmount *vfsmount)
{
  struct dentry *root = FIELD(vfsmount, mnt_root);
  TURNS(turn, COMPONENTS_IN_MOUNT) {
    struct dentry *parent;
    if (dentry == root)
      return append_above(out, used, vfsmount);
    if (!append_name(out, used, FIELD(dentry, d_name.name)))
      return false;
    parent = FIELD(dentry, d_parent);
    if (parent == dentry) /* no name in any directory: a memfd, a pipe, a detached tree */
      return true;
    dentry = parent;
  }
  return false;
}

#endif
