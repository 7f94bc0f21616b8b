/* Kernel events with hostile records: every buffer is exactly as long as it is said to be. */
#include "check.h"

#include "event_encode.h"
#include "ringbuf.h"

enum { RING_BYTES = 1 << 16, ROUNDS = 3000 };

static const struct pw_event_clock CLOCK = {
    INT64_C(1700000000123456789), UINT64_C(0xfeedface), "V\0W", 4, NULL, NULL, NULL, NULL};
static const struct pw_fragment NO_PAIRS = {(const uint8_t *)"", 0, 0, PW_SCOPE_HOST, 0};

static void fill_text(uint8_t *text, size_t bytes, uint64_t *state)
{
  static const char *const pieces[] = {
      "a", "/usr/bin/", "\\x", "\\", "\xc3\xa4", "\xf0\x9f\x90\x8b", "\xff", "\xe2\x82", ""};
  const unsigned kinds = sizeof pieces / sizeof *pieces;
  for (size_t at = 0; at < bytes;) {
    const char *piece = pieces[check_random(state) % kinds];
    for (size_t i = 0; i <= strlen(piece) && at < bytes; i++) text[at++] = (uint8_t)piece[i];
    if (check_random(state) % 4 && at > 0) at--; /* without its NUL */
  }
}

static uint32_t fixed_bytes(uint16_t kind)
{
  switch (kind) {
    case PW_EXEC:
    case PW_STATE_PROCESS:
      return sizeof(struct pw_exec);
    case PW_FORK:
      return sizeof(struct pw_fork);
    case PW_EXIT:
      return sizeof(struct pw_exit);
    case PW_BIND:
    case PW_STATE_BOUND:
      return sizeof(struct pw_bind);
    case PW_DNS:
      return sizeof(struct pw_dns);
    case PW_SESSION_START:
    case PW_SESSION_END:
      return sizeof(struct pw_session);
    default:
      if (pw_is_control(kind)) return sizeof(struct pw_cgroup);
      if (pw_is_privilege(kind)) return sizeof(struct pw_privilege);
      return kind < PW_FLOW_START ? sizeof(struct pw_tcp) : sizeof(struct pw_flow);
  }
}

/* A record in memory of its own, at most `most` bytes of parts; `*bytes` is its length. */
static uint8_t *make_record(uint16_t kind, uint32_t most, uint64_t *state, uint32_t *bytes)
{
  const uint32_t size = fixed_bytes(kind);
  const uint32_t parts = pw_is_exec(kind) || pw_is_privilege(kind) ? (uint32_t)(check_random(state) % most) : 8;
  uint8_t *record = malloc(size + parts);
  if (!record) abort();
  for (uint32_t at = 0; at < size; at++) record[at] = check_random(state) % 3 ? (uint8_t)check_random(state) : 0;
  fill_text(record + size, parts, state);
  struct pw_head *head = (struct pw_head *)(void *)record;
  head->kind = kind;
  head->record_bytes = *bytes = size + parts;
  head->cgroup_id = check_random(state) % 8;
  if (pw_is_exec(kind)) {
    struct pw_exec *exec = (struct pw_exec *)(void *)record;
    exec->args_bytes = (uint16_t)(parts / 2 < PW_ARGS_BYTES ? parts / 2 : PW_ARGS_BYTES);
    const uint32_t half = (parts - exec->args_bytes) / 2;
    exec->exe_bytes = (uint16_t)(half < PW_PATH_BYTES ? half : PW_PATH_BYTES);
    exec->cwd_bytes = (uint16_t)((parts - exec->args_bytes - exec->exe_bytes) / 2 % PW_PATH_BYTES);
    exec->filename_bytes = (uint16_t)(check_random(state) % (PW_FILENAME_BYTES + 1));
    exec->interpreter_bytes = exec->environment_bytes = exec->ancestors = 0;
    const uint32_t used = (uint32_t)exec->args_bytes + exec->exe_bytes + exec->cwd_bytes;
    if (used + exec->filename_bytes > parts) exec->filename_bytes = 0;
    const uint32_t left = parts - used - exec->filename_bytes;
    exec->interpreter_bytes = (uint16_t)(check_random(state) % (PW_INTERPRETER_BYTES + 1) % (left + 1));
    exec->environment_bytes = (uint16_t)((left - exec->interpreter_bytes) / 2);
    exec->ancestors = (uint16_t)(exec->environment_bytes / sizeof(struct pw_ancestor));
    if (exec->ancestors > PW_ANCESTORS) exec->ancestors = PW_ANCESTORS;
  }
  if (pw_is_privilege(kind)) {
    struct pw_privilege *privilege = (struct pw_privilege *)(void *)record;
    const uint32_t most_text = parts / 6 < PW_TEXT_BYTES ? parts / 6 : PW_TEXT_BYTES;
    for (unsigned at = 0; at < 3; at++) privilege->text_bytes[at] = (uint16_t)(check_random(state) % (most_text + 1));
    privilege->path_bytes = (uint16_t)(parts / 2 < PW_PATH_BYTES ? parts / 2 : PW_PATH_BYTES);
    privilege->call = (uint16_t)(check_random(state) % 80);
  }
  if (kind == PW_DNS) ((struct pw_dns *)(void *)record)->payload_bytes = (uint16_t)parts;
  if (pw_is_control(kind)) ((struct pw_cgroup *)(void *)record)->path_bytes = 7;
  return record;
}

/* There are gaps between the kinds. */
static uint16_t some_kind(uint64_t *state)
{
  for (;;) {
    const struct pw_head head = {.kind = (uint16_t)(check_random(state) % PW_KINDS), .record_bytes = sizeof head};
    if (pw_event_check(&head, sizeof head) != PW_E_RECORD_KIND) return head.kind;
  }
}

static uint16_t shipped_kind(uint64_t *state)
{
  uint16_t kind = some_kind(state);
  while (pw_is_control(kind) || kind == PW_FLOW_CLOSED) kind = some_kind(state);
  return kind;
}

/* The entry of any record that passes the check fits exactly the room that is asked for it. */
static int entries_fit_their_room(void)
{
  uint64_t state = 1;
  for (int round = 0; round < ROUNDS; round++) {
    uint32_t bytes;
    const uint16_t kind = shipped_kind(&state);
    uint8_t *record = make_record(kind, round % 50 ? 300 : 12000, &state, &bytes);
    const struct pw_head *head = (const struct pw_head *)(const void *)record;
    CHECK(pw_event_check(head, bytes) == PW_OK);
    const uint32_t room = pw_event_room(head);
    uint8_t *out = malloc(room);
    if (!out) abort();
    CHECK(pw_put_event(out, head, &NO_PAIRS, &CLOCK) <= out + room);
    free(out);
    free(record);
  }
  return 0;
}

/* The worst that fits a record: nothing but bytes that become escapes, and strings of no or one byte. */
static int worst_entries_fit_their_room(void)
{
  static const uint8_t worst[][2] = {{0xff, 0xff}, {0xff, 0}, {0, 0}, {'\\', 'x'}};
  for (unsigned at = 0; at < sizeof worst / sizeof *worst; at++) {
    const uint32_t texts =
      PW_ARGS_BYTES + 2 * PW_PATH_BYTES + PW_FILENAME_BYTES + PW_INTERPRETER_BYTES + PW_ENVIRONMENT_BYTES;
    const uint32_t parts = texts + PW_ANCESTORS * (uint32_t)sizeof(struct pw_ancestor);
    struct pw_exec *exec = malloc(sizeof *exec + parts);
    if (!exec) abort();
    memset(exec, 0xff, sizeof *exec);
    for (uint32_t i = 0; i < parts; i++) exec->data[i] = (char)worst[at][i % 2];
    exec->head = (struct pw_head){
        PW_EXEC, UINT16_MAX & ~PW_ARGS_UNREADABLE, (uint32_t)sizeof *exec + parts, UINT64_MAX, 1};
    exec->args_bytes = PW_ARGS_BYTES;
    exec->exe_bytes = exec->cwd_bytes = PW_PATH_BYTES;
    exec->filename_bytes = PW_FILENAME_BYTES;
    exec->interpreter_bytes = PW_INTERPRETER_BYTES;
    exec->environment_bytes = PW_ENVIRONMENT_BYTES;
    exec->ancestors = PW_ANCESTORS;
    exec->task.entry.tree = PW_TREE_ENTERED;
    memcpy(exec->data + texts - PW_ENVIRONMENT_BYTES, "\0V=", 3); /* all behind it is told */
    CHECK(pw_event_check(&exec->head, exec->head.record_bytes) == PW_OK);
    const uint32_t room = pw_event_room(&exec->head);
    uint8_t *out = malloc(room);
    if (!out) abort();
    CHECK(pw_put_event(out, &exec->head, &NO_PAIRS, &CLOCK) <= out + room);
    free(out);
    free(exec);
  }
  return 0;
}

/* Lies about lengths and kinds are found before anything is read by them. */
static int lies_are_found(void)
{
  uint64_t state = 2;
  for (int round = 0; round < ROUNDS; round++) {
    uint32_t bytes;
    uint8_t *record = make_record(some_kind(&state), 300, &state, &bytes);
    for (uint64_t n = check_random(&state) % 4; n > 0; n--)
      record[check_random(&state) % (n % 2 ? 8 : bytes)] = (uint8_t)check_random(&state);
    if (round % 4 == 0 && ((struct pw_head *)(void *)record)->kind == PW_EXEC) {
      uint16_t *lengths = (uint16_t *)(void *)(record + offsetof(struct pw_exec, args_bytes));
      lengths[round / 4 % 4] = (uint16_t)(check_random(&state) % 5000);
    }
    const uint32_t kept = check_random(&state) % 3 ? bytes : (uint32_t)(check_random(&state) % (bytes + 1));
    uint8_t *cut = check_copy(record, kept);
    const struct pw_head *head = (const struct pw_head *)(void *)cut;
    if (pw_event_check(head, kept) == PW_OK && !pw_is_control(head->kind) && head->kind != PW_FLOW_CLOSED) {
      uint8_t *out = malloc(pw_event_room(head));
      if (!out) abort();
      pw_put_event(out, head, &NO_PAIRS, &CLOCK);
      free(out);
    }
    free(cut);
    free(record);
  }
  return 0;
}

struct rig { /* a ring in memory, and all that a drain needs */
  uint64_t positions[2];
  uint8_t *memory;
  struct pw_ring ring;
  struct pw_drain drain;
  struct pw_containers *containers;
};

static void open_rig(struct rig *rig)
{
  memset(rig, 0, sizeof *rig);
  rig->memory = calloc(1, 2 * RING_BYTES);
  rig->containers = pw_containers_new(64, 1 << 20);
  struct pw_event_output *outputs[] = {&rig->drain.process, &rig->drain.network, &rig->drain.unknown};
  for (int at = 0; at < 3; at++) {
    outputs[at]->room = PW_EVENT_OUTPUT_BYTES;
    outputs[at]->bytes = malloc(PW_EVENT_OUTPUT_BYTES);
    if (!outputs[at]->bytes) abort();
  }
  if (!rig->memory || !rig->containers) abort();
  rig->drain.process_containers = rig->drain.network_containers = rig->containers;
  rig->ring = (struct pw_ring){
      .consumer = &rig->positions[0],
      .producer = &rig->positions[1],
      .data = rig->memory,
      .bytes = RING_BYTES,
      .fd = -1,
  };
}

static void close_rig(struct rig *rig)
{
  free(rig->drain.process.bytes);
  free(rig->drain.network.bytes);
  free(rig->drain.unknown.bytes);
  free(rig->memory);
  pw_containers_free(rig->containers);
}

static int drain_once(struct rig *rig, uint32_t max_records)
{
  rig->drain.max_records = max_records;
  rig->drain.process.used = rig->drain.network.used = rig->drain.unknown.used = 0;
  return pw_ring_drain(&rig->ring, &rig->drain);
}

static void submit(struct rig *rig, const uint8_t *record, uint32_t bytes, uint32_t word)
{
  const uint64_t at = rig->positions[1];
  uint8_t head[8] = {0};
  memcpy(head, &word, 4);
  for (uint64_t i = 0; i < 8 + (uint64_t)bytes; i++) {
    const uint8_t byte = i < 8 ? head[i] : record[i - 8];
    rig->memory[(at + i) % RING_BYTES] = rig->memory[(at + i) % RING_BYTES + RING_BYTES] = byte;
  }
  rig->positions[1] = at + ((bytes + 15) & ~7u);
}

/* An absurd length leads into the midst of a record, where anything may stand in place of a length: also that
 * the kernel is still writing there. */
static void pass_what_looks_busy(struct rig *rig)
{
  if (rig->drain.end == PW_DRAIN_EMPTY) rig->positions[0] = rig->positions[1];
}

static int ring_is_walked_to_its_end(void)
{
  uint64_t state = 3;
  struct rig rig;
  open_rig(&rig);
  CHECK(pw_containers_set(rig.containers, 3, &NO_PAIRS) == PW_OK);
  for (int round = 0; round < ROUNDS; round++) {
    uint32_t bytes;
    uint8_t *record = make_record(some_kind(&state), 400, &state, &bytes);
    uint32_t word = bytes;
    if (check_random(&state) % 20 == 0) word |= 1u << 30; /* discarded */
    if (check_random(&state) % 100 == 0) { /* absurd, and the record says the same */
      word = RING_BYTES + (uint32_t)(check_random(&state) % (2 * RING_BYTES));
      ((struct pw_head *)(void *)record)->record_bytes = word;
    }
    submit(&rig, record, bytes, word);
    free(record);
    while (rig.positions[1] - rig.positions[0] > RING_BYTES / 2) {
      CHECK(drain_once(&rig, 1 + (uint32_t)(check_random(&state) % 100)) == PW_OK);
      pass_what_looks_busy(&rig);
    }
  }
  do {
    CHECK(drain_once(&rig, 1000) == PW_OK);
    pass_what_looks_busy(&rig);
  } while (rig.drain.end != PW_DRAIN_EMPTY);
  CHECK(rig.positions[0] == rig.positions[1]);
  close_rig(&rig);
  return 0;
}

/* The kernel does not let the producer run ahead by more than the ring; if it did, nothing may be read. */
static int garbage_is_walked_within_the_ring(void)
{
  uint64_t state = 4;
  struct rig rig;
  open_rig(&rig);
  for (int round = 0; round < 200; round++) {
    for (uint32_t at = 0; at < 2 * RING_BYTES; at += 8) {
      const uint64_t kept = check_random(&state) % 8 ? UINT64_C(0xffffff00000000ff) : UINT64_MAX;
      const uint64_t noise = check_random(&state) & kept;
      memcpy(rig.memory + at, &noise, 8);
    }
    rig.positions[0] = check_random(&state) & ~(uint64_t)(round % 4 ? 7 : 0);
    rig.positions[1] = rig.positions[0] + check_random(&state) % (round % 8 ? RING_BYTES : 2 * RING_BYTES);
    do CHECK(drain_once(&rig, 1000) == PW_OK);
    while (rig.drain.end != PW_DRAIN_EMPTY);
  }
  close_rig(&rig);
  return 0;
}

static int raw_records_are_read_within_their_bytes(void)
{
  uint64_t state = 5, consumed, malformed;
  struct rig rig;
  open_rig(&rig);
  for (int round = 0; round < ROUNDS; round++) {
    uint32_t bytes;
    uint8_t *record = make_record(some_kind(&state), 300, &state, &bytes);
    if (round % 2) record[check_random(&state) % bytes] = (uint8_t)check_random(&state);
    uint8_t *exact = check_copy(record, bytes);
    rig.drain.process.used = rig.drain.network.used = 0;
    pw_events_encode(exact, bytes, &NO_PAIRS, &CLOCK, &rig.drain.process, &rig.drain.network, &consumed, &malformed);
    CHECK(consumed <= bytes);
    free(exact);
    free(record);
  }
  close_rig(&rig);
  return 0;
}

static int texts_are_read_within_their_bytes(void)
{
  uint64_t state = 7;
  for (int round = 0; round < 10 * ROUNDS; round++) {
    const size_t bytes = check_random(&state) % 40;
    uint8_t text[40], out[3 + 4 * 40];
    fill_text(text, bytes, &state);
    uint8_t *exact = malloc(bytes); /* no byte more, be it 0 */
    memcpy(exact, text, bytes);
    CHECK(pw_put_text(out, exact, (uint32_t)bytes) <= out + sizeof out);
    free(exact);
  }
  return 0;
}

static int table_keeps_what_it_is_told(void)
{
  uint64_t state = 6, ids[64];
  int present[64] = {0};
  for (int at = 0; at < 64; at++) ids[at] = check_random(&state);
  struct pw_containers *table = pw_containers_new(40, 40 * 16);
  if (!table) abort();
  for (int round = 0; round < 20000; round++) {
    const unsigned at = check_random(&state) % 64;
    const uint8_t pairs[16] = {(uint8_t)at};
    const struct pw_fragment fragment = {pairs, 16, 1, PW_SCOPE_POD, 0};
    if (check_random(&state) % 2) {
      if (pw_containers_set(table, ids[at], &fragment) == PW_OK) present[at] = 1;
    } else {
      CHECK(pw_containers_remove(table, ids[at]) == present[at]);
      present[at] = 0;
    }
    for (unsigned other = 0; other < 64; other++) {
      const struct pw_fragment *found = pw_containers_find(table, ids[other]);
      CHECK((found != NULL) == present[other]);
      CHECK(found == NULL || found->pairs[0] == other);
    }
  }
  CHECK(pw_containers_bytes(table) == 16 * (uint64_t)pw_containers_count(table));
  pw_containers_free(table);
  return 0;
}

int check_events(void)
{
  return entries_fit_their_room() || worst_entries_fit_their_room() || lies_are_found() ||
         ring_is_walked_to_its_end() || garbage_is_walked_within_the_ring() ||
         raw_records_are_read_within_their_bytes() || texts_are_read_within_their_bytes() ||
         table_keeps_what_it_is_told();
}
