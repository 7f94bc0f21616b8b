/* The log core on a corpus and on mutations of it. */
#include "log_feed.h"

#define T "2024-02-29T23:59:58.123456789Z "
#define MUTATIONS 1500
#define CORPUS_BYTES 4096

static const struct pw_text CORPUS[] = {
  TEXT(T "stdout F plain text\n" T "stderr F \n"),
  TEXT(T "stdout P {\"a\":1,\n" T "stderr P x\n" T "stdout F \"log\":\"{}\"}\r\n" T "stderr F y\n"),
  TEXT(T "stdout F {\"a\":[1,-2,3.5e10,1e400,18446744073709551616,{\"b\":[[],{}]}],"
         "\"log\":\"q\\u00e9\\ud83d\\ude00\\n\"}\n"),
  TEXT(T "stdout F {\"a\":{\"0\":0,\"1\":0,\"2\":0,\"3\":0,\"4\":0,\"5\":0,\"6\":0,\"7\":0,\"8\":0,\"9\":0,"
         "\"a\":0,\"b\":0,\"c\":0,\"d\":0,\"e\":0,\"f\":0,\"g\":[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]}}\n"),
  TEXT(T "stdout F {\"a\":0e0,\"b\":[0e0,0e0,0e0,0e0,0e0,0e0,0e0,0e0,0e0,0e0,0e0,0e0,0e0,0e0,0e0,0e0,0e0,0e0]}\n"),
  TEXT("{\"log\":\"{\\\"a\\\":1,\\\"b\\\":\\\"x\\\\n\\\"}\\n\",\"stream\":\"stdout\",\"a\":{\"log\":1}}\n"
       "{}\n[]\n{\"a\":1}x\n"),
  TEXT("1969-12-31T23:59:59-00:01 stdout F:tag:tag x\n2106-02-07T06:28:16Z stdout F x\nnonsense\n\n\r\n"),
  TEXT("\0\0\0" T "stdout F after a hole\n" T "stdout P never ended\n" T "stderr P nor this"),
  TEXT(T "stdout F {\"a\":\"a string long enough for more than one vector of sixteen bytes \\\\n\"}\n" T),
  TEXT(T "stdout F \xff\xfe\x80 {\"\xff\":\"\xc3\"}\n" T "stdout F {\"\xff\":\"\xc3\"}\n"),
};

/* msgpack that is cut short or none must be refused, not followed. */
static int skip_anything(uint64_t *state)
{
  uint8_t bytes[24];
  for (size_t i = 0; i < sizeof bytes; i++)
    bytes[i] = (uint8_t)check_random(state);
  bytes[0] |= 0x80;
  uint8_t *copy = check_copy(bytes, sizeof bytes);
  const uint8_t *behind = pw_msgpack_skip(copy, copy + sizeof bytes);
  CHECK(!behind || (behind > copy && behind <= copy + sizeof bytes));
  free(copy);
  return 0;
}

int check_logs(void)
{
  uint64_t state = 0x9e3779b97f4a7c15u;
  uint8_t text[CORPUS_BYTES];
  for (size_t round = 0; round < MUTATIONS; round++)
    for (size_t i = 0; i < LENGTH(CORPUS); i++) {
      size_t bytes = CORPUS[i].bytes;
      memcpy(text, CORPUS[i].at, bytes);
      if (round)
        bytes = check_mutate(text, bytes, &state);
      size_t head = bytes > sizeof T + 8 ? sizeof T + 8 : 0; /* behind `T stdout F ` */
      if (both_ways(text, bytes, check_random(&state)) || json_alone(text + head, bytes - head) ||
          json_alone(text, bytes) || skip_anything(&state)) {
        fprintf(stderr, "round %zu, text %zu: %.*s\n", round, i, (int)bytes, (const char *)text);
        return 1;
      }
    }
  return 0;
}
