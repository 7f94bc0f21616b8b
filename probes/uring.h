/* Requests of io_uring(7) that do to files what calls do: no system call of that name is made. They are told when they
 * are submitted, as the names that the kernel has copied are gone at the end; so whether they succeed is not known. */
#ifndef PODWITNESS_URING_H
#define PODWITNESS_URING_H
#include "dialect.h"
#include "events.h"
#include "file_calls.h"

#define OP_CONNECT 16
#define OP_OPENAT 18
#define OP_OPENAT2 28
#define OP_RENAMEAT 35
#define OP_UNLINKAT 36
#define OP_SYMLINKAT 38
#define OP_LINKAT 39

#define O_CREAT 0100
#define ADDRESS_AT 4096 /* in pw_privilege.data, where nothing else of such a record is */
#define UNIX_PATH_BYTES 108

#if defined(HAVE_io_kiocb__opcode) && defined(HAVE_io_kiocb__cmd) && defined(HAVE_io_open__how) && \
    defined(HAVE_io_link__newpath) && defined(HAVE_io_connect__addr)
/* The call that a request stands for; 0: it is not looked at. */
static __always_inline u32 call_of_request(struct io_kiocb *request)
{
  switch (FIELD(request, opcode)) {
    case OP_CONNECT:
      return CALL_connect;
    case OP_OPENAT:
    case OP_OPENAT2:
      return CALL_openat;
    case OP_RENAMEAT:
      return CALL_renameat;
    case OP_UNLINKAT:
      return CALL_unlinkat;
    case OP_SYMLINKAT:
      return CALL_symlinkat;
    case OP_LINKAT:
      return CALL_linkat;
    default:
      return 0;
  }
}

static __always_inline u64 int_at(u64 address)
{
  s32 value = 0;
  bpf_probe_read_kernel(&value, sizeof(value), (void *)address);
  return (s64)value;
}

static __always_inline u64 pointer_at(u64 address)
{
  u64 value = 0;
  bpf_probe_read_kernel(&value, sizeof(value), (void *)address);
  return value;
}

static __always_inline u64 name_at(u64 address)
{
  return pointer_at(pointer_at(address) + OFF_filename__name);
}

/* Of an address the kernel has no copy yet. */
static __always_inline u64 copied_address(struct pw_privilege *out, u64 user)
{
  char *copy = out->data + ADDRESS_AT;
  bpf_probe_read_user(copy, sizeof(u16), (void *)user);
  bpf_probe_read_user_str(copy + sizeof(u16), UNIX_PATH_BYTES + 1, (void *)(user + sizeof(u16)));
  return number_of(copy);
}

/* The arguments as the call has them, but with the kernel's copies of texts. */
static __always_inline void fill_request(struct pw_privilege *out, u64 request, u32 call)
{
  u64 *arguments = out->arguments, command = request + OFF_io_kiocb__cmd;
  switch (call) {
    case CALL_connect:
      arguments[1] = copied_address(out, pointer_at(command + OFF_io_connect__addr));
      break;
    case CALL_openat:
      arguments[0] = int_at(command + OFF_io_open__dfd);
      arguments[1] = name_at(command + OFF_io_open__filename);
      arguments[2] = pointer_at(command + OFF_io_open__how + OFF_open_how__flags);
      arguments[3] = pointer_at(command + OFF_io_open__how + OFF_open_how__mode);
      break;
    case CALL_unlinkat:
      arguments[0] = int_at(command + OFF_io_unlink__dfd);
      arguments[1] = name_at(command + OFF_io_unlink__filename);
      break;
    case CALL_renameat:
      arguments[0] = int_at(command + OFF_io_rename__old_dfd);
      arguments[1] = name_at(command + OFF_io_rename__oldpath);
      arguments[2] = int_at(command + OFF_io_rename__new_dfd);
      arguments[3] = name_at(command + OFF_io_rename__newpath);
      break;
    case CALL_linkat:
      arguments[0] = int_at(command + OFF_io_link__old_dfd);
      arguments[1] = name_at(command + OFF_io_link__oldpath);
      arguments[2] = int_at(command + OFF_io_link__new_dfd);
      arguments[3] = name_at(command + OFF_io_link__newpath);
      break;
    case CALL_symlinkat:
      arguments[0] = name_at(command + OFF_io_link__oldpath);
      arguments[1] = int_at(command + OFF_io_link__new_dfd);
      arguments[2] = name_at(command + OFF_io_link__newpath);
      break;
  }
}
#else /* also where the kernel is built without io_uring: then it has none of these types */
static __always_inline u32 call_of_request(void *request)
{
  return 0;
}

static __always_inline void fill_request(struct pw_privilege *out, u64 request, u32 call)
{
}
#endif

static __always_inline u32 recipe_of_request(u32 call)
{
  u32 recipe = recipe_of(call);
  return call == CALL_openat ? recipe_of_unopened(recipe) : recipe;
}

/* Of an open whether it would make a set-user-id file. */
static __always_inline bool makes_set_id(const struct pw_privilege *out)
{
  return out->call == CALL_openat && out->arguments[2] & (O_CREAT | O_TMPFILE_ALONE) &&
         out->arguments[3] & SET_ID_MODES && !IS_OFF(PW_PRIVILEGE_CHMOD);
}

/* The recipe of what is told, with its kind; 0 if that is nothing. */
static __always_inline u32 kind_of_request(struct watched *watched, struct pw_privilege *out, u32 recipe,
                                           struct task_struct *task)
{
  u32 kind = recipe & 255;
  out->result = EACCES_RESULT; /* as of an open that has opened nothing */
  if (is_file_call(kind))
    kind = kind_of_file_call(watched, out, forgotten(out, recipe), task, true);
  out->result = 0;
  if (makes_set_id(out)) {
    out->arguments[5] = out->arguments[3];
    out->marks |= PW_MADE_SET_ID;
    kind = PW_PRIVILEGE_CHMOD;
  }
  return kind ? (recipe & ~255u) | kind : 0;
}

#endif
