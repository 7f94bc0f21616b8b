/* Internal. How the arguments of system calls are shown; the tables are in event_calls.c. */
#ifndef PODWITNESS_EVENT_CALLS_H
#define PODWITNESS_EVENT_CALLS_H

#include "event_put.h"

enum { PW_CALL_TEXTS = 3, PW_CALL_NUMBERS = 4 };

enum pw_number_form {
  PW_FORM_NONE = 0,
  PW_FORM_INTEGER, /* 32 bits with sign: ids (-1 leaves one as it is), descriptors, pids */
  PW_FORM_COUNT,
  PW_FORM_MODE,    /* four octal digits */
  PW_FORM_DEVICE,  /* major:minor of a dev_t as user space has it */
  PW_FORM_SIGNAL,
  PW_FORM_NAME,    /* one of names */
  PW_FORM_SET,     /* 16 hex digits: of capabilities */
  PW_FORM_FLAGS,   /* an array of names, one for each bit */
};

struct pw_number_name {
  uint64_t number;
  char text[24]; /* at most 23 letters */
};

struct pw_number_names {
  const struct pw_number_name *rows;
  uint32_t count;
  uint64_t ignored; /* bits that say nothing of interest */
  uint64_t magic;   /* in the bits of MAGIC_MASK: then these are no flags */
};

struct pw_call_number {
  char label[12];
  uint8_t argument;
  uint8_t form;
  const struct pw_number_names *names;
};

enum pw_path_of_call { /* what the path of the record is, as components */
  PW_PATH_OF_FILE = 0,
  PW_PATH_OF_FOLDER,  /* in which a relative text starts */
  PW_PATH_IF_OPENED,  /* of the file that was opened; if none was, of the folder */
};

struct pw_call_row {
  char name[20];
  char texts[PW_CALL_TEXTS][12];
  uint8_t path_is;
  struct pw_call_number numbers[PW_CALL_NUMBERS];
};

/* By pw_privilege.call; NULL for one that is not known. */
const struct pw_call_row *pw_call_row(unsigned call);

/* Of clone(2) and its like. */
extern const struct pw_number_names pw_namespace_names;

uint8_t *pw_put_name(uint8_t *p, const struct pw_number_names *names, uint64_t number);
uint8_t *pw_put_flags(uint8_t *p, const struct pw_number_names *names, uint64_t flags);

#endif
