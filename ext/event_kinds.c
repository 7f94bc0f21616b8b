/* What each kind of record is: how long, and what `event` says of it. */
#include "dns.h"
#include "event_encode.h"
#include "program.h"

struct kind_row {
  uint16_t least_bytes;
  uint8_t types;
  struct pw_word category, type[2], action;
};

#define PRIVILEGE(kind, category, type, action) \
  [PW_PRIVILEGE_##kind] = {sizeof(struct pw_privilege), 1, PW_WORD(category), {PW_WORD(type)}, PW_WORD(action)}

static const struct kind_row KINDS[PW_KINDS] = {
    [PW_EXEC] = {sizeof(struct pw_exec), 1, PW_WORD("process"), {PW_WORD("start")}, PW_WORD("exec")},
    [PW_FORK] = {sizeof(struct pw_fork), 1, PW_WORD("process"), {PW_WORD("start")}, PW_WORD("fork")},
    [PW_EXIT] = {sizeof(struct pw_exit), 1, PW_WORD("process"), {PW_WORD("end")}, PW_WORD("exit")},
    [PW_TCP_CONNECT] = {sizeof(struct pw_tcp), 2, PW_WORD("network"), {PW_WORD("connection"), PW_WORD("start")},
                        PW_WORD("connect")},
    [PW_TCP_CONNECT_FAILED] = {sizeof(struct pw_tcp), 1, PW_WORD("network"), {PW_WORD("connection")},
                               PW_WORD("connect-failed")},
    [PW_TCP_LISTEN] = {sizeof(struct pw_tcp), 2, PW_WORD("network"), {PW_WORD("info"), PW_WORD("start")},
                       PW_WORD("listen")},
    [PW_TCP_ACCEPT] = {sizeof(struct pw_tcp), 2, PW_WORD("network"), {PW_WORD("connection"), PW_WORD("start")},
                       PW_WORD("accept")},
    [PW_TCP_CLOSE] = {sizeof(struct pw_tcp), 2, PW_WORD("network"), {PW_WORD("connection"), PW_WORD("end")},
                      PW_WORD("close")},
    [PW_TCP_UNLISTEN] = {sizeof(struct pw_tcp), 2, PW_WORD("network"), {PW_WORD("info"), PW_WORD("end")},
                         PW_WORD("unlisten")},
    [PW_STATE_PROCESS] = {sizeof(struct pw_exec), 1, PW_WORD("process"), {PW_WORD("info")}, PW_WORD("running")},
    [PW_STATE_LISTENER] = {sizeof(struct pw_tcp), 1, PW_WORD("network"), {PW_WORD("info")}, PW_WORD("listening")},
    [PW_STATE_CONNECTION] = {sizeof(struct pw_tcp), 2, PW_WORD("network"), {PW_WORD("connection"), PW_WORD("info")},
                             PW_WORD("connected")},
    [PW_STATE_BOUND] = {sizeof(struct pw_bind), 1, PW_WORD("network"), {PW_WORD("info")}, PW_WORD("bound")},
    [PW_SESSION_START] = {sizeof(struct pw_session), 1, PW_WORD("session"), {PW_WORD("start")},
                          PW_WORD("session-start")},
    [PW_SESSION_END] = {sizeof(struct pw_session), 1, PW_WORD("session"), {PW_WORD("end")}, PW_WORD("session-end")},
    [PW_FLOW_START] = {sizeof(struct pw_flow), 2, PW_WORD("network"), {PW_WORD("connection"), PW_WORD("start")},
                       PW_WORD("flow-start")},
    [PW_FLOW_UPDATE] = {sizeof(struct pw_flow), 2, PW_WORD("network"), {PW_WORD("connection"), PW_WORD("info")},
                        PW_WORD("flow-update")},
    [PW_FLOW_END] = {sizeof(struct pw_flow), 2, PW_WORD("network"), {PW_WORD("connection"), PW_WORD("end")},
                     PW_WORD("flow-end")},
    [PW_FLOW_CLOSED] = {.least_bytes = sizeof(struct pw_flow)},
    [PW_DNS] = {sizeof(struct pw_dns), 1, PW_WORD("network"), {PW_WORD("protocol")}, PW_WORD("dns")},
    [PW_BIND] = {sizeof(struct pw_bind), 1, PW_WORD("network"), {PW_WORD("info")}, PW_WORD("bind")},
    PRIVILEGE(SETUID, "process", "change", "setuid"),
    PRIVILEGE(SETGID, "process", "change", "setgid"),
    PRIVILEGE(CAPSET, "process", "change", "capset"),
    PRIVILEGE(PTRACE, "process", "access", "ptrace"),
    PRIVILEGE(MOUNT, "configuration", "creation", "mount"),
    PRIVILEGE(UMOUNT, "configuration", "deletion", "umount"),
    PRIVILEGE(PIVOT_ROOT, "configuration", "change", "pivot-root"),
    PRIVILEGE(CHROOT, "process", "change", "chroot"),
    PRIVILEGE(UNSHARE, "process", "change", "unshare"),
    PRIVILEGE(SETNS, "process", "change", "setns"),
    PRIVILEGE(CLONE, "process", "change", "clone"),
    PRIVILEGE(BPF, "driver", "change", "bpf"),
    PRIVILEGE(PERF_EVENT_OPEN, "process", "access", "perf-event-open"),
    PRIVILEGE(LOAD_MODULE, "driver", "start", "load-module"),
    PRIVILEGE(DELETE_MODULE, "driver", "end", "delete-module"),
    PRIVILEGE(KEXEC_LOAD, "configuration", "change", "kexec-load"),
    PRIVILEGE(MEMFD_CREATE, "process", "info", "memfd-create"),
    PRIVILEGE(VM_WRITE, "process", "access", "vm-write"),
    PRIVILEGE(KEYCTL, "process", "access", "keyctl"),
    PRIVILEGE(CHMOD, "file", "change", "chmod"),
    PRIVILEGE(CHOWN, "file", "change", "chown"),
    PRIVILEGE(MKNOD, "file", "creation", "mknod"),
    PRIVILEGE(SYMLINK, "file", "creation", "symlink"),
    PRIVILEGE(LINK, "file", "creation", "link"),
    PRIVILEGE(KILL, "process", "change", "kill"),
    PRIVILEGE(OOM_KILL, "process", "change", "oom-kill"),
    PRIVILEGE(CGROUP_ATTACH, "process", "change", "cgroup-attach"),
    PRIVILEGE(OPEN_BY_HANDLE, "file", "access", "open-by-handle"),
    PRIVILEGE(IO_URING_SETUP, "process", "info", "io-uring-setup"),
    PRIVILEGE(SETXATTR, "file", "change", "setxattr"),
    PRIVILEGE(FILE_READ, "file", "access", "file-read"),
    PRIVILEGE(FILE_WRITE, "file", "change", "file-write"),
    PRIVILEGE(FILE_DELETE, "file", "deletion", "file-delete"),
    PRIVILEGE(FILE_RENAME, "file", "change", "file-rename"),
    PRIVILEGE(FILE_CONNECT, "file", "access", "file-connect"),
    [PW_CGROUP_MKDIR] = {.least_bytes = sizeof(struct pw_cgroup)},
    [PW_CGROUP_RMDIR] = {.least_bytes = sizeof(struct pw_cgroup)},
};

int pw_kind_is_flow(uint16_t kind)
{
  return PW_IS_FLOW(kind);
}

/* All parts but the ancestors. */
static uint32_t exec_text_bytes(const struct pw_exec *exec)
{
  return (uint32_t)exec->args_bytes + exec->exe_bytes + exec->cwd_bytes + exec->filename_bytes +
         exec->interpreter_bytes + exec->environment_bytes;
}

static int check_exec(const struct pw_exec *exec)
{
  const uint32_t ancestors_bytes = exec->ancestors * (uint32_t)sizeof(struct pw_ancestor);
  if (exec->args_bytes > PW_ARGS_BYTES || exec->exe_bytes > PW_PATH_BYTES || exec->cwd_bytes > PW_PATH_BYTES ||
      exec->filename_bytes > PW_FILENAME_BYTES || exec->interpreter_bytes > PW_INTERPRETER_BYTES ||
      exec->environment_bytes > PW_ENVIRONMENT_BYTES || exec->ancestors > PW_ANCESTORS)
    return PW_E_RECORD_SIZE;
  return exec_text_bytes(exec) + ancestors_bytes <= exec->head.record_bytes - sizeof *exec ? PW_OK : PW_E_RECORD_SIZE;
}

static int check_cgroup(const struct pw_cgroup *cgroup)
{
  if (cgroup->path_bytes > PW_CGROUP_PATH_BYTES)
    return PW_E_RECORD_SIZE;
  return cgroup->path_bytes <= cgroup->head.record_bytes - sizeof *cgroup ? PW_OK : PW_E_RECORD_SIZE;
}

static uint32_t parts_of_privilege(const struct pw_privilege *privilege)
{
  return (uint32_t)privilege->text_bytes[0] + privilege->text_bytes[1] + privilege->text_bytes[2] +
         privilege->path_bytes;
}

static int check_privilege(const struct pw_privilege *privilege)
{
  for (unsigned at = 0; at < 3; at++)
    if (privilege->text_bytes[at] > PW_TEXT_BYTES)
      return PW_E_RECORD_SIZE;
  if (privilege->path_bytes > PW_PATH_BYTES)
    return PW_E_RECORD_SIZE;
  return parts_of_privilege(privilege) <= privilege->head.record_bytes - sizeof *privilege ? PW_OK : PW_E_RECORD_SIZE;
}

static int check_dns(const struct pw_dns *dns)
{
  if (dns->payload_bytes > PW_DNS_BYTES)
    return PW_E_RECORD_SIZE;
  return dns->payload_bytes <= dns->head.record_bytes - sizeof *dns ? PW_OK : PW_E_RECORD_SIZE;
}

int pw_event_check(const struct pw_head *head, uint32_t bytes)
{
  if (bytes < sizeof *head || head->record_bytes > bytes)
    return PW_E_RECORD_SIZE;
  if (head->kind >= PW_KINDS || KINDS[head->kind].least_bytes == 0)
    return PW_E_RECORD_KIND;
  if (head->record_bytes < KINDS[head->kind].least_bytes)
    return PW_E_RECORD_SIZE;
  if (pw_is_exec(head->kind))
    return check_exec((const struct pw_exec *)head);
  if (pw_is_privilege(head->kind))
    return check_privilege((const struct pw_privilege *)head);
  if (head->kind == PW_DNS)
    return check_dns((const struct pw_dns *)head);
  return pw_is_control(head->kind) ? check_cgroup((const struct pw_cgroup *)head) : PW_OK;
}

/* All that is not variable takes less than 4600 bytes, eight ancestors and 1600 for capabilities among it. A
 * variable byte takes at most four as an escape; an argument's stand in `args` and in `command_line`, where a NUL
 * pays for the headers of its string. The rest is slack for put_word. */
enum { FIXED_BYTES = 6144, BYTES_PER_BYTE = 4 };

/* A few bytes can point at a long name, twice in an answer; fewer than twelve are none. */
enum { ANSWER_ROOM = 2 * PW_DNS_NAME_BYTES + 160, ANSWER_LEAST_BYTES = 11 };

static uint32_t room_of_dns(const struct pw_dns *dns)
{
  const uint32_t possible = dns->payload_bytes / ANSWER_LEAST_BYTES;
  const uint32_t answers = possible < PW_DNS_ANSWERS ? possible : PW_DNS_ANSWERS;
  return 3 * FIXED_BYTES + PW_PROGRAM_PAIRS_BYTES + ANSWER_ROOM * answers;
}

uint32_t pw_event_room(const struct pw_head *head)
{
  if (head->kind == PW_DNS)
    return room_of_dns((const struct pw_dns *)head);
  if (pw_is_privilege(head->kind)) /* twice: who did it, and what it changed */
    return 2 * FIXED_BYTES + PW_PROGRAM_PAIRS_BYTES +
           BYTES_PER_BYTE * parts_of_privilege((const struct pw_privilege *)head);
  if (!pw_is_exec(head->kind))
    return FIXED_BYTES + PW_PROGRAM_PAIRS_BYTES;
  const struct pw_exec *exec = (const struct pw_exec *)head;
  return FIXED_BYTES + PW_PROGRAM_PAIRS_BYTES + BYTES_PER_BYTE * (exec_text_bytes(exec) + exec->args_bytes);
}

#define PARTS_BYTES                                                                                              \
  (2 * PW_ARGS_BYTES + 2 * PW_PATH_BYTES + PW_FILENAME_BYTES + PW_INTERPRETER_BYTES + PW_ENVIRONMENT_BYTES)
_Static_assert(PW_EVENT_OUTPUT_BYTES >=
                   FIXED_BYTES + PW_PROGRAM_PAIRS_BYTES + PW_FRAGMENT_BYTES + BYTES_PER_BYTE * PARTS_BYTES,
               "the longest record fits an empty output");

uint8_t *pw_put_event_map(uint8_t *p, uint16_t kind, int outcome, uint64_t duration_ns)
{
  static const struct pw_word outcomes[] = {PW_WORD("failure"), PW_WORD("success"), PW_WORD("unknown")};
  const struct kind_row *row = &KINDS[kind];
  p = pw_put_map_head(PUT(p, "event"), duration_ns != 0 ? 7 : 6);
  p = PUT(p, "kind");
  p = pw_is_state(kind) ? PUT(p, "state") : PUT(p, "event");
  p = put_word(pw_put_array_head(PUT(p, "category"), 1), &row->category);
  p = put_word(pw_put_array_head(PUT(p, "type"), row->types), &row->type[0]);
  if (row->types > 1)
    p = put_word(p, &row->type[1]);
  p = put_word(PUT(p, "action"), &row->action);
  p = PUT(PUT(p, "provider"), "ebpf");
  p = PUT(p, "outcome");
  p = put_word(p, &outcomes[outcome]);
  return duration_ns != 0 ? pw_put_uint(PUT(p, "duration"), duration_ns) : p;
}

uint8_t *pw_put_scope(uint8_t *p, uint32_t scope, uint64_t cgroup_id)
{
  static const struct pw_word scopes[] = {PW_WORD("unresolved"), PW_WORD("host"), PW_WORD("pod"), PW_WORD("container")};
  p = put_word(PUT(p, "scope"), &scopes[scope <= PW_SCOPE_CONTAINER ? scope : 0]);
  return pw_put_uint(PUT(p, "cgroup_id"), cgroup_id);
}

uint8_t *pw_put_user(uint8_t *p, uint32_t uid)
{
  return pw_put_decimal(PUT(pw_put_map_head(PUT(p, "user"), 1), "id"), uid);
}
