/* Cgroups of the default (v2) hierarchy: made before anything can run in them, removed after all has left. */
#include "dialect.h"
#include "emit.h"
#include "events.h"
#include "lineage.h"

#define PATH_READ_BYTES 4096

_Static_assert(PW_VALUE_BYTES_cgroup_scratch == sizeof(struct pw_cgroup) + PATH_READ_BYTES, "scratch of cgroup");

/* cgrp_dfl_root is the first root that the kernel makes, before any v1 hierarchy can be mounted. */
#define DEFAULT_HIERARCHY 0

/* Of a path that is too long the end is kept, for that holds the container's id. It then does not start with
 * a slash, unless the cut falls on one. */
static __always_inline u64 write_cgroup_path(struct pw_cgroup *out, const char *path)
{
  long bytes = bpf_probe_read_kernel_str(out->path, PATH_READ_BYTES, path);
  if (bytes > PW_CGROUP_PATH_BYTES)
    bytes = bpf_probe_read_kernel_str(out->path, PW_CGROUP_PATH_BYTES, path + bytes - PW_CGROUP_PATH_BYTES);
  return bytes > 0 ? bytes - 1 : 0;
}

static __always_inline void emit_cgroup(struct cgroup *cgroup, const char *path, u16 kind)
{
  struct cgroup_root *root = FIELD(cgroup, root);
  struct kernfs_node *node = FIELD(cgroup, kn);
  u32 zero = 0;
  u64 bytes;
  struct pw_cgroup *out;
  if (FIELD(root, hierarchy_id) != DEFAULT_HIERARCHY)
    return;
  out = map_lookup(MAP(cgroup_scratch), &zero);
  if (!out)
    return;
  __builtin_memset(out, 0, sizeof(*out));
  if (!begin(&out->head, kind, FIELD(node, id)))
    return;
  out->level = FIELD(cgroup, level);
  bytes = write_cgroup_path(out, path);
  BOUND(bytes, PW_CGROUP_PATH_BYTES - 1);
  out->path_bytes = bytes;
  bytes += sizeof(*out) + 1;
  out->head.record_bytes = bytes;
  output(out, kind, bytes);
}

/* Nobody has been in it, and it is in the default hierarchy: see session.h. Those of other hierarchies have
 * numbers of their own, which no process is looked up by. */
PROGRAM(cgroup_mkdir)
{
  struct home made = {};
  struct cgroup *cgroup = TYPED(cgroup, ARGUMENT(0));
  u64 id = id_of(cgroup);
  map_update(MAP(homes), &id, &made, MAP_NOEXIST);
  emit_cgroup(cgroup, ARGUMENT(1), PW_CGROUP_MKDIR);
  return 0;
}

PROGRAM(cgroup_rmdir)
{
  struct cgroup *cgroup = TYPED(cgroup, ARGUMENT(0));
  u64 id = id_of(cgroup);
  map_delete(MAP(homes), &id);
  emit_cgroup(cgroup, ARGUMENT(1), PW_CGROUP_RMDIR);
  return 0;
}
