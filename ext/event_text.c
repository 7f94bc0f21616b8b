#include "event_put.h"

static const char HEX[] = "0123456789abcdef";

/* Length of the character that starts at `text`, 0 if none does (Unicode 15, table 3-7). */
static uint32_t utf8_length(const uint8_t *text, uint32_t left)
{
  const uint8_t first = text[0];
  if (first < 0x80)
    return 1;
  if (first < 0xc2 || first > 0xf4)
    return 0;
  const uint32_t length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  if (left < length)
    return 0;
  const uint8_t lowest = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
  const uint8_t highest = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
  if (text[1] < lowest || text[1] > highest)
    return 0;
  for (uint32_t at = 2; at < length; at++)
    if ((text[at] & 0xc0) != 0x80)
      return 0;
  return length;
}

static int is_escape_sign(const uint8_t *text, uint32_t left)
{
  return text[0] == '\\' && left > 1 && text[1] == 'x';
}

/* 1 if there is nothing but ASCII without a backslash. */
static int is_plain(const uint8_t *text, uint32_t length)
{
  const uint64_t ones = UINT64_C(0x0101010101010101), tops = ones << 7;
  uint32_t at = 0;
  for (; at + 8 <= length; at += 8) {
    uint64_t word;
    memcpy(&word, text + at, 8);
    const uint64_t differs = word ^ (ones * '\\');
    if ((word | ((differs - ones) & ~differs)) & tops)
      return 0;
  }
  for (; at < length; at++)
    if (text[at] >= 0x80 || text[at] == '\\')
      return 0;
  return 1;
}

static uint32_t escaped_length(const uint8_t *text, uint32_t length)
{
  uint32_t total = 0;
  for (uint32_t at = 0; at < length;) {
    const uint32_t character = is_escape_sign(text + at, length - at) ? 0 : utf8_length(text + at, length - at);
    total += character ? character : 4;
    at += character ? character : 1;
  }
  return total;
}

static uint8_t *put_escaped(uint8_t *p, const uint8_t *text, uint32_t length)
{
  for (uint32_t at = 0; at < length;) {
    const uint32_t character = is_escape_sign(text + at, length - at) ? 0 : utf8_length(text + at, length - at);
    for (uint32_t i = 0; i < character; i++)
      *p++ = text[at++];
    if (character)
      continue;
    *p++ = '\\';
    *p++ = 'x';
    *p++ = (uint8_t)HEX[text[at] >> 4];
    *p++ = (uint8_t)HEX[text[at++] & 15];
  }
  return p;
}

uint8_t *pw_put_text(uint8_t *p, const uint8_t *text, uint32_t length)
{
  if (is_plain(text, length))
    return pw_put_bytes(pw_put_str_head(p, length), text, length);
  return put_escaped(pw_put_str_head(p, escaped_length(text, length)), text, length);
}

uint8_t *pw_put_comm(uint8_t *p, const char comm[PW_COMM_BYTES])
{
  return pw_put_text(p, (const uint8_t *)comm, (uint32_t)strnlen(comm, PW_COMM_BYTES));
}

static const char PAIRS[] =
    "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748495051"
    "525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";

/* 0 to 99 as two digits. */
static uint8_t *put_2_digits(uint8_t *p, uint32_t value)
{
  return pw_put_bytes(p, PAIRS + 2 * value, 2);
}

static uint8_t *put_9_digits(uint8_t *p, uint32_t value)
{
  const uint32_t low = value % 10000, middle = value / 10000 % 10000, high = value / 100000000;
  *p++ = (uint8_t)('0' + high);
  p = put_2_digits(p, middle / 100);
  p = put_2_digits(p, middle % 100);
  p = put_2_digits(p, low / 100);
  return put_2_digits(p, low % 100);
}

/* Days since 1970-01-01 as a date: H. Hinnant, chrono-compatible low-level date
 * algorithms, civil_from_days, for days that are not negative. */
static uint8_t *put_civil(uint8_t *p, uint32_t days)
{
  const uint32_t shifted = days + 719468, era = shifted / 146097, of_era = shifted % 146097;
  const uint32_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
  const uint32_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const uint32_t from_march = (5 * of_year + 2) / 153;
  const uint32_t month = from_march < 10 ? from_march + 3 : from_march - 9;
  const uint32_t year = year_of_era + era * 400 + (month <= 2);
  p = put_2_digits(put_2_digits(p, year / 100), year % 100);
  *p++ = '-';
  p = put_2_digits(p, month);
  *p++ = '-';
  return put_2_digits(p, of_year - (153 * from_march + 2) / 5 + 1);
}

uint8_t *pw_put_date(uint8_t *p, uint64_t wall_ns)
{
  const uint64_t seconds = wall_ns / 1000000000;
  const uint32_t of_day = (uint32_t)(seconds % 86400);
  p = pw_put_str_head(p, 30);
  p = put_civil(p, (uint32_t)(seconds / 86400));
  *p++ = 'T';
  p = put_2_digits(p, of_day / 3600);
  *p++ = ':';
  p = put_2_digits(p, of_day / 60 % 60);
  *p++ = ':';
  p = put_2_digits(p, of_day % 60);
  *p++ = '.';
  p = put_9_digits(p, (uint32_t)(wall_ns % 1000000000));
  *p++ = 'Z';
  return p;
}

static uint8_t *put_decimal_digits(uint8_t *p, uint64_t value)
{
  uint8_t digits[20];
  uint32_t at = sizeof digits;
  for (; value >= 10; value /= 100)
    memcpy(digits + (at -= 2), PAIRS + 2 * (value % 100), 2);
  if (value > 0 || at == sizeof digits)
    digits[--at] = (uint8_t)('0' + value);
  return pw_put_bytes(p, digits + at, sizeof digits - at);
}

static uint8_t *put_hex_digits(uint8_t *p, uint64_t value)
{
  const int digits = value == 0 ? 1 : (67 - __builtin_clzll(value)) / 4;
  for (int at = digits - 1; at >= 0; at--, value >>= 4)
    p[at] = (uint8_t)HEX[value & 15];
  return p + digits;
}

uint8_t *pw_put_decimal(uint8_t *p, uint64_t value)
{
  uint8_t *end = put_decimal_digits(p + 1, value);
  pw_put_str_head(p, (uint32_t)(end - p - 1));
  return end;
}

static uint8_t *put_hex16(uint8_t *p, uint64_t value)
{
  for (int at = 15; at >= 0; at--, value >>= 4)
    p[at] = (uint8_t)HEX[value & 15];
  return p + 16;
}

uint8_t *pw_put_hex64(uint8_t *p, uint64_t value)
{
  return put_hex16(pw_put_str_head(p, 16), value);
}

uint8_t *pw_put_entity_id(uint8_t *p, uint64_t node_id, uint64_t start_ns, uint32_t pid)
{
  /* 19 to 42 bytes: the header's length is known at the end. */
  uint8_t text[48], *end = put_hex16(text, node_id);
  *end++ = '-';
  end = put_hex_digits(end, start_ns);
  *end++ = '-';
  end = put_hex_digits(end, pid);
  return pw_put_bytes(pw_put_str_head(p, (uint32_t)(end - text)), text, (size_t)(end - text));
}

uint8_t *pw_put_process_ids(uint8_t *p, uint64_t node_id, uint64_t start_ns, uint32_t pid)
{
  p = pw_put_map_head(p, start_ns != 0 ? 2 : 1);
  p = pw_put_uint(PUT(p, "pid"), pid);
  return start_ns != 0 ? pw_put_entity_id(PUT(p, "entity_id"), node_id, start_ns, pid) : p;
}

int pw_is_mapped_ipv4(const uint8_t address[16])
{
  static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};
  return memcmp(address, prefix, sizeof prefix) == 0;
}

static uint8_t *put_ipv4(uint8_t *p, const uint8_t address[4])
{
  uint8_t *end = p + 1;
  for (int at = 0; at < 4; at++) {
    if (at > 0)
      *end++ = '.';
    end = put_decimal_digits(end, address[at]);
  }
  pw_put_str_head(p, (uint32_t)(end - p - 1));
  return end;
}

/* The longest run of two or more zero groups, the first of equals: [*from, *to). */
static void longest_zeros(const uint16_t groups[8], int *from, int *to)
{
  *from = *to = 8;
  for (int at = 0, length = 1; at < 8; at++) {
    int end = at;
    while (end < 8 && groups[end] == 0)
      end++;
    if (end - at <= length)
      continue;
    length = end - at;
    *from = at;
    *to = end;
  }
}

static uint8_t *put_ipv6(uint8_t *p, const uint8_t address[16])
{
  uint16_t groups[8];
  uint8_t text[40], *end = text;
  int from, to;
  for (int at = 0; at < 8; at++)
    groups[at] = (uint16_t)(address[2 * at] << 8 | address[2 * at + 1]);
  longest_zeros(groups, &from, &to);
  for (int at = 0; at < 8; at++) {
    if (at == from) {
      *end++ = ':';
      *end++ = ':';
      at = to - 1;
      continue;
    }
    if (at > 0 && at != to)
      *end++ = ':';
    end = put_hex_digits(end, groups[at]);
  }
  return pw_put_bytes(pw_put_str_head(p, (uint32_t)(end - text)), text, (size_t)(end - text));
}

uint8_t *pw_put_address(uint8_t *p, const uint8_t address[16], int is_ipv6)
{
  if (!is_ipv6)
    return put_ipv4(p, address);
  return pw_is_mapped_ipv4(address) ? put_ipv4(p, address + 12) : put_ipv6(p, address);
}

uint8_t *pw_put_path(uint8_t *p, const char *components, uint32_t length, int is_cut)
{
  uint8_t path[PW_PATH_BYTES + 8], *end = path;
  if (is_cut)
    end = pw_put_bytes(end, "...", 3);
  uint32_t stop = length > 0 && components[length - 1] == '\0' ? length - 1 : length;
  while (length > 0) {
    const char *before = memrchr(components, '\0', stop);
    const uint32_t start = before != NULL ? (uint32_t)(before - components) + 1 : 0;
    *end++ = '/';
    end = pw_put_bytes(end, components + start, stop - start);
    if (before == NULL)
      break;
    stop = start - 1;
  }
  if (end == path)
    *end++ = '/';
  return pw_put_text(p, path, (uint32_t)(end - path));
}

uint8_t *pw_put_args(uint8_t *p, const char *args, uint32_t length)
{
  uint32_t count = 0;
  for (uint32_t at = 0; at < length; at++)
    count += args[at] == '\0';
  if (length > 0 && args[length - 1] != '\0') count++; /* the cut fell into a string */
  p = pw_put_array_head(p, count);
  for (uint32_t at = 0; at < length;) {
    const uint32_t text = (uint32_t)strnlen(args + at, length - at);
    p = pw_put_text(p, (const uint8_t *)args + at, text);
    at += text + 1;
  }
  return p;
}

uint8_t *pw_put_command_line(uint8_t *p, const char *args, uint32_t length)
{
  uint8_t line[PW_ARGS_BYTES];
  if (length > 0 && args[length - 1] == '\0')
    length--;
  for (uint32_t at = 0; at < length; at++)
    line[at] = args[at] != '\0' ? (uint8_t)args[at] : ' ';
  return pw_put_text(p, line, length);
}
