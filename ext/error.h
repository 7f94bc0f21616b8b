/* Error codes of the extension: a number that never changes and one sentence. */
#ifndef PODWITNESS_ERROR_H
#define PODWITNESS_ERROR_H

#define PW_ERRORS(X) \
  X(PW_OK, 0, "no error") \
  X(PW_E_SYSCALL, 1, "a system call failed; errno tells why") \
  X(PW_E_MEMORY, 2, "out of memory") \
  X(PW_E_OUTPUT_FULL, 3, "the output buffer is too small for one record") \
  X(PW_E_RECORD_SIZE, 4, "a kernel record is shorter than its kind requires") \
  X(PW_E_RECORD_KIND, 5, "a kernel record of a kind that this build does not know") \
  X(PW_E_TABLE_FULL, 6, "the table of containers is full")

#define PW_ERROR_ENUM(name, value, text) name = value,
enum pw_error { PW_ERRORS(PW_ERROR_ENUM) };
#undef PW_ERROR_ENUM

const char *pw_error_text(int error);

#endif
