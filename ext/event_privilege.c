/* The map podwitness.privilege: what was called or done, with what, to whom, and what it changed. */
#include "event_calls.h"
#include "event_encode.h"

enum { LARGEST_ERRNO = 4095, DELIVERY_IGNORED = 1 };

int pw_privilege_is_request(const struct pw_privilege *privilege)
{
  return privilege->call != 0 && (privilege->marks & PW_BY_IO_URING);
}

unsigned pw_privilege_errno(const struct pw_privilege *privilege)
{
  const int64_t result = (int64_t)privilege->result;
  if (privilege->call == 0 || pw_privilege_is_request(privilege))
    return 0;
  return result < 0 && result >= -LARGEST_ERRNO ? (unsigned)-result : 0;
}

static uint8_t *put_label(uint8_t *p, const char *label)
{
  return put_literal(p, label, strlen(label));
}

static uint8_t *put_device(uint8_t *p, uint64_t device)
{
  const uint64_t major = device >> 8 & 0xfff, minor = (device & 0xff) | (device >> 12 & 0xfff00);
  uint8_t *text = p + 1, *middle = pw_put_decimal(p, major), *end = pw_put_decimal(middle, minor);
  *middle = ':'; /* in place of the second number's header */
  pw_put_str_head(p, (uint32_t)(end - text));
  return end;
}

static uint8_t *put_number(uint8_t *p, const struct pw_call_number *number, uint64_t value)
{
  switch (number->form) {
    case PW_FORM_INTEGER:
      return pw_put_int(p, (int32_t)(uint32_t)value);
    case PW_FORM_MODE:
      return pw_put_mode(p, (uint32_t)value);
    case PW_FORM_DEVICE:
      return put_device(p, value);
    case PW_FORM_SIGNAL:
      return pw_put_signal(p, (uint32_t)value);
    case PW_FORM_NAME:
      return pw_put_name(p, number->names, value);
    case PW_FORM_SET:
      return pw_put_hex64(p, value);
    case PW_FORM_FLAGS:
      return pw_put_flags(p, number->names, value);
    default:
      return pw_put_uint(p, value);
  }
}

/* Whether the path of the record is where a relative one starts; of what was opened it is the file's own. */
static int has_folder(const struct pw_privilege *privilege, const struct pw_call_row *row)
{
  const int is_open = !pw_privilege_is_request(privilege) && (int64_t)privilege->result >= 0;
  return row->path_is == PW_PATH_OF_FOLDER || (row->path_is == PW_PATH_IF_OPENED && !is_open);
}

static uint8_t *put_texts(uint8_t *p, const struct pw_privilege *privilege, const struct pw_call_row *row,
                          unsigned *pairs)
{
  const char *text = privilege->data;
  for (unsigned at = 0; at < PW_CALL_TEXTS; at++) {
    const uint32_t bytes = privilege->text_bytes[at];
    if (bytes > 0 && row->texts[at][0] != '\0') {
      p = pw_put_text(put_label(p, row->texts[at]), (const uint8_t *)text, bytes);
      *pairs += 1;
    }
    text += bytes;
  }
  if (privilege->path_bytes > 0 || (privilege->marks & PW_PATH_CUT)) {
    p = has_folder(privilege, row) ? PUT(p, "folder") : PUT(p, "file");
    p = pw_put_path(p, text, privilege->path_bytes, privilege->marks & PW_PATH_CUT);
    *pairs += 1;
  }
  return p;
}

static uint8_t *put_call(uint8_t *p, const struct pw_privilege *privilege, unsigned *pairs)
{
  static const struct pw_call_row unknown = {.name = "unknown"};
  const struct pw_call_row *row = pw_call_row(privilege->call);
  if (row == NULL)
    row = &unknown;
  p = put_label(PUT(p, "call"), row->name);
  *pairs += 1;
  if (pw_privilege_is_request(privilege)) {
    p = PUT_IF_TRUE(p, "io_uring", 1, pairs);
  } else {
    p = pw_put_int(PUT(p, "result"), (int64_t)privilege->result);
    *pairs += 1;
  }
  for (unsigned at = 0; at < PW_CALL_NUMBERS && row->numbers[at].form != PW_FORM_NONE; at++) {
    const struct pw_call_number *number = &row->numbers[at];
    p = put_number(put_label(p, number->label), number, privilege->arguments[number->argument]);
    *pairs += 1;
  }
  if (privilege->marks & PW_MADE_SET_ID) {
    p = pw_put_mode(PUT(p, "mode"), (uint32_t)privilege->arguments[5]);
    *pairs += 1;
  }
  p = PUT_IF_TRUE(p, "i386", privilege->marks & PW_PROGRAM_I386, pairs);
  p = PUT_IF_TRUE(p, "cut", privilege->marks & PW_TEXT_CUT, pairs);
  return put_texts(p, privilege, row, pairs);
}

/* What the tracepoints of their own tell. */
static uint8_t *put_event_of_its_own(uint8_t *p, const struct pw_privilege *privilege, unsigned *pairs)
{
  if (privilege->head.kind == PW_PRIVILEGE_KILL) {
    p = pw_put_signal(PUT(p, "signal"), (uint32_t)privilege->arguments[0]);
    *pairs += 1;
    p = PUT_IF_TRUE(p, "ignored", privilege->arguments[1] == DELIVERY_IGNORED, pairs);
    return PUT_IF_TRUE(p, "to_thread", !(privilege->marks & PW_GROUP), pairs);
  }
  if (privilege->head.kind == PW_PRIVILEGE_CLONE) {
    /* all bits are flags there; those of threads and memory say nothing of namespaces */
    p = pw_put_flags(PUT(p, "flags"), &pw_namespace_names, privilege->arguments[0] & 0x7e020080);
    *pairs += 1;
  }
  return p;
}

static uint64_t container_of_cgroup(uint64_t cgroup_id, const struct pw_event_clock *clock)
{
  const struct pw_fragment *found = clock->targets != NULL ? pw_containers_find(clock->targets, cgroup_id) : NULL;
  return found != NULL ? found->container : 0;
}

int pw_privilege_stays_inside(const struct pw_privilege *privilege, const struct pw_event_clock *clock)
{
  if (privilege->call != 0 || !(privilege->marks & PW_TARGET_KNOWN))
    return 0;
  const uint64_t container = container_of_cgroup(privilege->head.cgroup_id, clock);
  return container != 0 && container == container_of_cgroup(privilege->target_cgroup_id, clock);
}

static const struct pw_fragment *owner_of_target(const struct pw_privilege *privilege,
                                                 const struct pw_event_clock *clock)
{
  static const struct pw_fragment nobody = {.pairs = (const uint8_t *)""};
  const struct pw_fragment *owner = NULL;
  if (clock->targets != NULL)
    owner = pw_containers_find(clock->targets, privilege->target_cgroup_id);
  return owner != NULL && owner->pairs_bytes <= PW_TARGET_BYTES ? owner : &nobody;
}

static uint8_t *put_target(uint8_t *p, const struct pw_privilege *privilege, const struct pw_event_clock *clock,
                           unsigned *pairs)
{
  const int is_known = privilege->marks & PW_TARGET_KNOWN;
  if (!is_known && privilege->target_pid == 0)
    return p;
  const struct pw_fragment *owner = owner_of_target(privilege, clock);
  *pairs += 1;
  p = pw_put_map_head(PUT(p, "target"), is_known ? 5 + owner->pair_count : 1);
  p = pw_put_uint(PUT(p, "pid"), privilege->target_pid);
  if (!is_known)
    return p;
  p = pw_put_entity_id(PUT(p, "entity_id"), clock->node_id, privilege->target_start_ns, privilege->target_pid);
  p = pw_put_comm(PUT(p, "name"), privilege->target_comm);
  p = pw_put_user(p, privilege->target_uid);
  p = pw_put_uint(PUT(p, "cgroup_id"), privilege->target_cgroup_id);
  return pw_put_bytes(p, owner->pairs, owner->pairs_bytes);
}

/* Of ids, namespaces and capabilities what differs: key and map of its values before, or after. */
static uint8_t *put_side(uint8_t *p, const struct pw_privilege *privilege, const uint32_t *ids,
                         const __u64 *capabilities)
{
  static const char labels[PW_IDENTITIES][22] = {
      "uid",    "euid",   "suid",     "fsuid", "gid",    "egid",   "sgid",      "fsgid",
      "mnt_ns", "pid_ns_for_children", "net_ns", "user_ns", "uts_ns", "ipc_ns", "cgroup_ns", "time_ns_for_children"};
  unsigned pairs = 0;
  uint8_t *const map = p;
  p += 3; /* room for the head of a map of any size, moved back below */
  for (unsigned at = 0; at < PW_IDENTITIES; at++)
    if (privilege->before[at] != privilege->after[at]) {
      p = pw_put_uint(put_label(p, labels[at]), ids[at]);
      pairs++;
    }
  if (privilege->capabilities_before[0] != privilege->capabilities_after[0]) {
    p = pw_put_hex64(PUT(p, "capabilities_effective"), capabilities[0]);
    pairs++;
  }
  if (privilege->capabilities_before[1] != privilege->capabilities_after[1]) {
    p = pw_put_hex64(PUT(p, "capabilities_permitted"), capabilities[1]);
    pairs++;
  }
  uint8_t *const start = pw_put_map_head(map, pairs);
  const size_t bytes = (size_t)(p - map) - 3;
  memmove(start, map + 3, bytes);
  return start + bytes;
}

static uint8_t *put_changes(uint8_t *p, const struct pw_privilege *privilege, unsigned *pairs)
{
  if (!(privilege->marks & PW_BEFORE_KNOWN))
    return p;
  *pairs += 2;
  p = put_side(PUT(p, "before"), privilege, privilege->before, privilege->capabilities_before);
  return put_side(PUT(p, "after"), privilege, privilege->after, privilege->capabilities_after);
}

static int is_of_file(uint16_t kind)
{
  return (kind >= PW_PRIVILEGE_CHMOD && kind <= PW_PRIVILEGE_LINK) || kind >= PW_PRIVILEGE_SETXATTR;
}

/* The path of the file that was opened or passed as a descriptor, as components; else the text that is a path. */
static const char *whole_path(const struct pw_privilege *privilege, uint32_t *bytes, int *is_components)
{
  const struct pw_call_row *row = pw_call_row(privilege->call);
  const char *text = privilege->data;
  *is_components = row != NULL && !has_folder(privilege, row) && privilege->path_bytes > 0;
  *bytes = privilege->path_bytes;
  if (row == NULL || !is_of_file(privilege->head.kind))
    return NULL;
  if (*is_components)
    return text + privilege->text_bytes[0] + privilege->text_bytes[1] + privilege->text_bytes[2];
  for (unsigned at = 0; at < PW_CALL_TEXTS; text += *bytes, at++) {
    *bytes = privilege->text_bytes[at];
    if (strcmp(row->texts[at], "path") == 0)
      return *bytes > 0 && text[0] == '/' ? text : NULL;
  }
  return NULL;
}

int pw_privilege_has_file(const struct pw_privilege *privilege)
{
  uint32_t bytes;
  int is_components;
  return whole_path(privilege, &bytes, &is_components) != NULL;
}

uint8_t *pw_put_file(uint8_t *p, const struct pw_privilege *privilege)
{
  uint32_t bytes;
  int is_components;
  const char *path = whole_path(privilege, &bytes, &is_components);
  p = PUT(pw_put_map_head(PUT(p, "file"), 1), "path");
  return is_components ? pw_put_path(p, path, bytes, privilege->marks & PW_PATH_CUT)
                       : pw_put_text(p, (const uint8_t *)path, bytes);
}

uint8_t *pw_put_privilege(uint8_t *p, const struct pw_privilege *privilege, const struct pw_event_clock *clock)
{
  unsigned pairs = 0;
  p = PUT(p, "privilege");
  uint8_t *const map = p = begin_map(p);
  p = privilege->call != 0 ? put_call(p, privilege, &pairs) : put_event_of_its_own(p, privilege, &pairs);
  p = put_target(p, privilege, clock, &pairs);
  p = put_changes(p, privilege, &pairs);
  end_map(map, pairs); /* at most 15: call, result, four numbers, two marks, four texts, target, before, after */
  return p;
}
