/* Where a process descends from: its tree, its session, its ancestors. */
#include "event_encode.h"

/* A tree that came into a cgroup of the host's is no session: services move their processes about. */
static int is_told(const struct pw_entry *entry, uint32_t scope)
{
  return scope != PW_SCOPE_HOST || (entry->tree == PW_TREE_ENTERED && entry->entered_by == PW_ENTERED_MOUNTS);
}

int pw_event_is_shipped(const struct pw_head *head, uint32_t scope, const struct pw_event_clock *clock)
{
  if (head->kind == PW_PRIVILEGE_KILL)
    return !pw_privilege_stays_inside((const struct pw_privilege *)head, clock);
  if (head->kind != PW_SESSION_START && head->kind != PW_SESSION_END)
    return 1;
  return is_told(&((const struct pw_session *)head)->task.entry, scope);
}

uint8_t *pw_put_entry_leader(uint8_t *p, const struct pw_entry *entry, const struct pw_event_clock *clock,
                             unsigned *pairs)
{
  if (entry->entry_start_ns == 0)
    return p;
  *pairs += 1;
  return pw_put_process_ids(PUT(p, "entry_leader"), clock->node_id, entry->entry_start_ns, entry->entry_pid);
}

static uint8_t *put_entered(uint8_t *p, const struct pw_entry *entry)
{
  static const struct pw_word entered[] = {PW_WORD("nothing"), PW_WORD("cgroup"), PW_WORD("namespaces"),
                                           PW_WORD("container")};
  return put_word(PUT(p, "entered"), &entered[entry->entered_by <= PW_ENTERED_BOTH ? entry->entered_by : 0]);
}

static uint8_t *put_session(uint8_t *p, const struct pw_head *head, const struct pw_entry *entry,
                            const struct pw_event_clock *clock)
{
  const struct pw_session *session = (const struct pw_session *)head;
  unsigned pairs = 2;
  p = PUT(p, "session");
  uint8_t *const map = p = begin_map(p);
  p = pw_put_entity_id(PUT(p, "id"), clock->node_id, entry->entry_start_ns, entry->entry_pid);
  p = put_entered(p, entry);
  if (head->kind == PW_SESSION_START || head->kind == PW_SESSION_END) {
    p = pw_put_uint(PUT(p, "process_cgroup_id"), session->process_cgroup_id);
    pairs++;
  }
  if (head->kind == PW_SESSION_END) {
    p = pw_put_uint(PUT(p, "processes"), session->processes);
    pairs++;
  }
  end_map(map, pairs);
  return p;
}

uint8_t *pw_put_tree(uint8_t *p, const struct pw_head *head, const struct pw_entry *entry, uint32_t scope,
                     const struct pw_event_clock *clock, unsigned *pairs)
{
  const int is_entered = entry->tree == PW_TREE_ENTERED;
  if (!is_told(entry, scope) || (entry->tree != PW_TREE_INIT && !is_entered))
    return p;
  p = pw_put_byte(PUT(p, "in_init_tree"), is_entered ? 0xc2 : 0xc3);
  *pairs += 1;
  if (entry->entry_start_ns == 0) { /* what executes first in a tree is its entry */
    p = pw_put_byte(PUT(p, "setup"), 0xc3);
    *pairs += 1;
  } else if (is_entered) {
    p = put_session(p, head, entry, clock);
    *pairs += 1;
  }
  return p;
}

/* How many are told: those above the tree's first program are what made the container. Of that program itself,
 * and of one that came in, all are. */
static uint32_t ancestors_told(const struct pw_exec *exec, const struct pw_ancestor ancestors[PW_ANCESTORS])
{
  const struct pw_entry *entry = &exec->task.entry;
  for (uint32_t at = 0; at < exec->ancestors; at++)
    if (ancestors[at].start_ns == entry->entry_start_ns && ancestors[at].pid == entry->entry_pid)
      return at + 1;
  return exec->ancestors;
}

uint8_t *pw_put_ancestors(uint8_t *p, const struct pw_exec *exec, const struct pw_event_clock *clock,
                          unsigned *pairs)
{
  struct pw_ancestor ancestors[PW_ANCESTORS];
  const uint32_t bytes = (uint32_t)exec->ancestors * (uint32_t)sizeof ancestors[0];
  const uint32_t before = (uint32_t)exec->args_bytes + exec->exe_bytes + exec->cwd_bytes + exec->filename_bytes +
                          exec->interpreter_bytes + exec->environment_bytes;
  if (exec->ancestors == 0)
    return p;
  memcpy(ancestors, exec->data + before, bytes);
  const uint32_t told = ancestors_told(exec, ancestors);
  p = pw_put_array_head(PUT(p, "ancestors"), told);
  for (uint32_t at = 0; at < told; at++) {
    p = pw_put_map_head(p, 3);
    p = pw_put_uint(PUT(p, "pid"), ancestors[at].pid);
    p = pw_put_entity_id(PUT(p, "entity_id"), clock->node_id, ancestors[at].start_ns, ancestors[at].pid);
    p = pw_put_comm(PUT(p, "name"), ancestors[at].comm);
  }
  *pairs += 1;
  return p;
}
