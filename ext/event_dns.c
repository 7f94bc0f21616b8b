/* DNS in the fields of ECS. The source is always the client, of a query as of its answer. */
#include "dns.h"
#include "event_ends.h"
#include "event_encode.h"

enum { SHOWN_BYTES = 256 }; /* of a packet that can't be read */

struct numbered {
  uint16_t number;
  struct pw_word name;
};

static uint8_t *put_numbered(uint8_t *p, const struct numbered *names, size_t count, unsigned number,
                             const char *prefix)
{
  for (size_t at = 0; at < count; at++)
    if (names[at].number == number)
      return put_word(p, &names[at].name);
  uint8_t *const start = p;
  uint8_t decimal[8], *end = pw_put_decimal(decimal, number);
  const size_t digits = (size_t)(end - decimal) - 1, letters = strlen(prefix);
  p = pw_put_str_head(start, letters + digits);
  p = pw_put_bytes(p, prefix, letters);
  return pw_put_bytes(p, decimal + 1, digits);
}
#define PUT_NUMBERED(p, names, number, prefix) put_numbered(p, names, sizeof names / sizeof names[0], number, prefix)

static uint8_t *put_type(uint8_t *p, unsigned type)
{
  static const struct numbered names[] = {
      {1, PW_WORD("A")},       {2, PW_WORD("NS")},    {5, PW_WORD("CNAME")},  {6, PW_WORD("SOA")},
      {12, PW_WORD("PTR")},    {15, PW_WORD("MX")},   {16, PW_WORD("TXT")},   {28, PW_WORD("AAAA")},
      {33, PW_WORD("SRV")},    {35, PW_WORD("NAPTR")}, {43, PW_WORD("DS")},   {46, PW_WORD("RRSIG")},
      {48, PW_WORD("DNSKEY")}, {64, PW_WORD("SVCB")}, {65, PW_WORD("HTTPS")}, {255, PW_WORD("ANY")}};
  return PUT_NUMBERED(p, names, type, "TYPE");
}

static uint8_t *put_class(uint8_t *p, unsigned class_)
{
  static const struct numbered names[] = {
      {1, PW_WORD("IN")}, {3, PW_WORD("CH")}, {4, PW_WORD("HS")}, {255, PW_WORD("ANY")}};
  return PUT_NUMBERED(p, names, class_, "CLASS");
}

static uint8_t *put_operation(uint8_t *p, unsigned code)
{
  static const struct numbered names[] = {{0, PW_WORD("QUERY")}, {1, PW_WORD("IQUERY")}, {2, PW_WORD("STATUS")},
                                          {4, PW_WORD("NOTIFY")}, {5, PW_WORD("UPDATE")}};
  return PUT_NUMBERED(p, names, code, "OPCODE");
}

static uint8_t *put_response_code(uint8_t *p, unsigned code)
{
  static const struct numbered names[] = {{0, PW_WORD("NOERROR")}, {1, PW_WORD("FORMERR")}, {2, PW_WORD("SERVFAIL")},
                                          {3, PW_WORD("NXDOMAIN")}, {4, PW_WORD("NOTIMP")}, {5, PW_WORD("REFUSED")}};
  return PUT_NUMBERED(p, names, code, "RCODE");
}

static uint8_t *put_header_flags(uint8_t *p, unsigned flags)
{
  static const struct numbered names[] = {{0x400, PW_WORD("AA")}, {0x200, PW_WORD("TC")}, {0x100, PW_WORD("RD")},
                                          {0x80, PW_WORD("RA")},  {0x20, PW_WORD("AD")},  {0x10, PW_WORD("CD")}};
  uint8_t *const head = p++;
  unsigned count = 0;
  for (size_t at = 0; at < sizeof names / sizeof names[0]; at++)
    if (flags & names[at].number) {
      p = put_word(p, &names[at].name);
      count++;
    }
  *head = (uint8_t)(0x90 | count);
  return p;
}

static uint8_t *put_name(uint8_t *p, const struct pw_dns_message *message, uint32_t at)
{
  char text[PW_DNS_NAME_BYTES];
  uint32_t bytes = 0;
  if (pw_dns_name(message->bytes, message->length, at, text, &bytes) == 0)
    bytes = 0;
  return pw_put_bytes(pw_put_str_head(p, bytes), text, bytes);
}

/* Of a type with a name at this offset of its data. */
static int name_offset(unsigned type)
{
  switch (type) {
    case PW_DNS_NS:
    case PW_DNS_CNAME:
    case PW_DNS_PTR:
      return 0;
    case PW_DNS_MX:
      return 2;
    case PW_DNS_SRV:
      return 6;
    default:
      return -1;
  }
}

static uint8_t *put_address(uint8_t *p, const struct pw_dns_message *message, const struct pw_dns_answer *answer)
{
  uint8_t address[16] = {0};
  memcpy(address, message->bytes + answer->data_at, answer->data_bytes);
  return pw_put_address(p, address, answer->type == PW_DNS_AAAA);
}

/* What is before a name: preferences, weights, a port, each with a space behind it. */
static char *put_numbers(char *out, const uint8_t *data, int bytes)
{
  for (int at = 0; at < bytes; at += 2) {
    uint8_t decimal[8], *end = pw_put_decimal(decimal, (unsigned)(data[at] << 8 | data[at + 1]));
    memcpy(out, decimal + 1, (size_t)(end - decimal) - 1);
    out += end - decimal - 1;
    *out++ = ' ';
  }
  return out;
}

static uint8_t *put_named(uint8_t *p, const struct pw_dns_message *message, const struct pw_dns_answer *answer,
                          int offset)
{
  char text[PW_DNS_NAME_BYTES + 24], *name = put_numbers(text, message->bytes + answer->data_at, offset);
  uint32_t bytes = 0;
  pw_dns_name(message->bytes, message->length, answer->data_at + (uint32_t)offset, name, &bytes);
  bytes += (uint32_t)(name - text);
  return pw_put_bytes(pw_put_str_head(p, bytes), text, bytes);
}

static int has_name(const struct pw_dns_message *message, const struct pw_dns_answer *answer)
{
  char text[PW_DNS_NAME_BYTES];
  uint32_t bytes;
  const int offset = name_offset(answer->type);
  return offset >= 0 && answer->data_bytes > offset &&
         pw_dns_name(message->bytes, message->length, answer->data_at + (uint32_t)offset, text, &bytes) != 0;
}

/* Of TXT the first string. */
static int has_text(const struct pw_dns_message *message, const struct pw_dns_answer *answer)
{
  return answer->type == PW_DNS_TXT && answer->data_bytes > 0 &&
         message->bytes[answer->data_at] < answer->data_bytes;
}

static uint8_t *put_answer(uint8_t *p, const struct pw_dns_message *message, const struct pw_dns_answer *answer)
{
  unsigned pairs = 4;
  uint8_t *const map = p = begin_map(p);
  p = put_name(PUT(p, "name"), message, answer->name_at);
  p = put_type(PUT(p, "type"), answer->type);
  p = put_class(PUT(p, "class"), answer->class_);
  p = pw_put_uint(PUT(p, "ttl"), answer->ttl_s);
  const uint8_t *data = message->bytes + answer->data_at;
  pairs += pw_dns_is_address(answer) || has_name(message, answer) || has_text(message, answer);
  if (pw_dns_is_address(answer))
    p = put_address(PUT(p, "data"), message, answer);
  else if (has_name(message, answer))
    p = put_named(PUT(p, "data"), message, answer, name_offset(answer->type));
  else if (has_text(message, answer))
    p = pw_put_text(PUT(p, "data"), data + 1, data[0]);
  end_map(map, pairs);
  return p;
}

static uint8_t *put_answers(uint8_t *p, const struct pw_dns_message *message)
{
  unsigned addresses = 0;
  p = pw_put_array_head(PUT(p, "answers"), message->kept);
  for (unsigned at = 0; at < message->kept; at++) {
    p = put_answer(p, message, &message->answers[at]);
    addresses += pw_dns_is_address(&message->answers[at]) != 0;
  }
  p = pw_put_array_head(PUT(p, "resolved_ip"), addresses);
  for (unsigned at = 0; at < message->kept; at++)
    if (pw_dns_is_address(&message->answers[at]))
      p = put_address(p, message, &message->answers[at]);
  return p;
}

static uint8_t *put_dns(uint8_t *p, const struct pw_dns_message *message)
{
  unsigned pairs = 4;
  p = PUT(p, "dns");
  uint8_t *const map = p = begin_map(p);
  p = pw_put_decimal(PUT(p, "id"), message->id);
  p = PUT(p, "type");
  p = pw_dns_is_answer(message) ? PUT(p, "answer") : PUT(p, "query");
  p = put_operation(PUT(p, "op_code"), message->flags >> 11 & 15);
  p = put_header_flags(PUT(p, "header_flags"), message->flags);
  if (message->question_at != 0) {
    p = pw_put_map_head(PUT(p, "question"), 3);
    p = put_name(PUT(p, "name"), message, message->question_at);
    p = put_type(PUT(p, "type"), message->question_type);
    p = put_class(PUT(p, "class"), message->question_class);
    pairs++;
  }
  if (pw_dns_is_answer(message)) {
    p = put_response_code(PUT(p, "response_code"), pw_dns_code(message));
    p = pw_put_uint(PUT(p, "answers_count"), message->answer_count);
    p = put_answers(p, message);
    pairs += 4;
  }
  end_map(map, pairs);
  return p;
}

/* A record that was read, and whose end is ours. */
struct reading {
  struct pw_dns_message message;
  int is_readable;
  int is_server;
};

static struct reading read_packet(const struct pw_dns *dns)
{
  struct reading reading;
  const int is_cut = dns->payload_bytes < dns->payload_total_bytes;
  reading.is_readable = pw_dns_parse(dns->payload, dns->payload_bytes, is_cut, &reading.message);
  const int is_answer = reading.is_readable && pw_dns_is_answer(&reading.message);
  reading.is_server = is_answer != (dns->is_ingress != 0);
  return reading;
}

/* What is not told of it by itself. */
static uint8_t *put_marks(uint8_t *p, const struct pw_dns *dns, int is_readable, int is_cut)
{
  unsigned pairs = 0;
  p = PUT(p, "dns");
  uint8_t *const map = p = begin_map(p);
  p = PUT_UNLESS_0(p, "cut_bytes", is_cut ? dns->payload_total_bytes - dns->payload_bytes : 0, &pairs);
  p = PUT_IF_TRUE(p, "malformed", !is_readable, &pairs);
  if (!is_readable) {
    const uint32_t shown = dns->payload_bytes < SHOWN_BYTES ? dns->payload_bytes : SHOWN_BYTES;
    p = pw_put_text(PUT(p, "payload"), dns->payload, shown);
    pairs++;
  }
  end_map(map, pairs);
  return p;
}

static uint8_t *put_podwitness(uint8_t *p, const struct pw_dns *dns, uint32_t scope, int is_readable,
                               const struct pw_event_clock *clock)
{
  const int is_cut = dns->payload_bytes < dns->payload_total_bytes;
  unsigned pairs = is_cut || !is_readable ? 5 : 4;
  p = PUT(p, "podwitness");
  uint8_t *const map = p = begin_map(p);
  p = pw_put_scope(p, scope, dns->head.cgroup_id);
  p = pw_put_net_namespace(p, dns->net_ns, dns->net_cookie);
  p = pw_put_tree(p, &dns->head, &dns->entry, scope, clock, &pairs);
  p = pw_put_map_head(PUT(p, "socket"), 2);
  p = pw_put_hex64(PUT(p, "id"), dns->socket_id);
  p = pw_put_owner_source(PUT(p, "owner_source"), dns->owner_pid != 0 ? dns->owner_source : PW_OWNER_NONE);
  if (is_cut || !is_readable)
    p = put_marks(p, dns, is_readable, is_cut);
  end_map(map, pairs);
  return p;
}

static struct pw_owner owner_of(const struct pw_dns *dns)
{
  return (struct pw_owner){dns->comm, &dns->entry, dns->owner_start_ns, dns->owner_pid, dns->owner_uid,
                           dns->head.time_ns, dns->head.time_ns};
}

uint32_t pw_dns_event_pairs(const struct pw_dns *dns)
{
  const struct pw_owner owner = owner_of(dns);
  return 5 + pw_owner_pairs(&owner) + (read_packet(dns).is_readable != 0);
}

uint8_t *pw_put_dns_event(uint8_t *p, const struct pw_dns *dns, uint32_t scope, const struct pw_event_clock *clock)
{
  static const struct pw_word application = PW_WORD("dns");
  const struct reading reading = read_packet(dns);
  const struct pw_owner owner = owner_of(dns);
  const struct pw_ends ends = {.local_address = dns->local_address,
                               .remote_address = dns->remote_address,
                               .family = dns->family,
                               .local_port = dns->local_port,
                               .remote_port = dns->remote_port,
                               .protocol = dns->protocol,
                               .is_server = (uint8_t)reading.is_server,
                               .has_role = 1};
  const int is_refused = pw_dns_is_answer(&reading.message) && pw_dns_code(&reading.message) != 0;
  const int is_success = reading.is_readable && !is_refused;
  p = pw_put_event_map(p, PW_DNS, is_success, dns->took_ns);
  p = pw_put_owner(p, &owner, clock);
  p = pw_put_ends(p, &ends);
  p = pw_put_network(p, &ends, &application);
  if (reading.is_readable)
    p = put_dns(p, &reading.message);
  return put_podwitness(p, dns, scope, reading.is_readable, clock);
}
