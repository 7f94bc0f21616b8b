/* The file that a process executes: what it is, and where it is from. */
#ifndef PODWITNESS_BINARY_H
#define PODWITNESS_BINARY_H
#include "dialect.h"
#include "events.h"

#define OVERLAYFS_MAGIC 0x794c7630
#define TMPFS_MAGIC 0x01021994

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

#endif
