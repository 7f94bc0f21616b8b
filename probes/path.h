/* A path out of dentries: components leaf first, each NUL ended, up to the root of the mount namespace. In a
 * container that is the container's own root. */
#ifndef PODWITNESS_PATH_H
#define PODWITNESS_PATH_H
#include "dialect.h"
#include "events.h"

/* Mount crossings count as components. The verifier walks every turn of the loop, so it can't be PATH_MAX / 2. */
#define PATH_COMPONENTS 96
#define NAME_BYTES 256 /* NAME_MAX and NUL */

static __always_inline struct mount *mount_of(struct vfsmount *vfsmount)
{
  return (struct mount *)((char *)vfsmount - OFF_mount__mnt);
}

/* Writes at most PW_PATH_BYTES to `out`, and how many to *used; false when the root was not reached.
 *
 * *used must be in a map. The verifier knows nothing of what it reads from there, so all turns of the loop look
 * the same to it; in a register each would have bounds of its own, and each way out of the loop be checked anew
 * with all that follows, up to its limit of a million instructions. */
static __always_inline bool write_path(char *out, volatile u16 *used, struct dentry *dentry, struct vfsmount *vfsmount)
{
  struct mount *mount = mount_of(vfsmount);
  struct dentry *root = PROBED(vfsmount, mnt_root);
  for (int turn = 0; turn < PATH_COMPONENTS; turn++) {
    struct dentry *parent;
    u64 at = *used;
    long bytes;
    if (dentry == root) {
      struct mount *above = PROBED(mount, mnt_parent);
      if (above == mount)
        return true;
      dentry = PROBED(mount, mnt_mountpoint);
      mount = above;
      root = PROBED(mount, mnt.mnt_root);
      continue;
    }
    if (at > PW_PATH_BYTES - NAME_BYTES)
      return false;
    BOUND(at, PW_PATH_BYTES - 1);
    bytes = bpf_probe_read_kernel_str(out + at, NAME_BYTES, PROBED(dentry, d_name.name));
    if (bytes <= 0)
      return false;
    *used = at + bytes;
    parent = PROBED(dentry, d_parent);
    if (parent == dentry) /* no name in any directory: a memfd, a pipe, a detached tree */
      return true;
    dentry = parent;
  }
  return false;
}

#endif
