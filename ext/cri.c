#include "cri.h"

#include <string.h>

static inline unsigned digit(uint8_t byte)
{
  return (unsigned)byte - '0'; /* over 9: no digit */
}

/* Two digits as a number; over 99 when they are none. */
static inline unsigned pair(const uint8_t *at)
{
  unsigned tens = digit(at[0]), ones = digit(at[1]);
  return tens > 9 || ones > 9 ? 100 : tens * 10 + ones;
}

static int days_of_month(int year, unsigned month)
{
  static const uint8_t DAYS[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  int leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  return DAYS[month - 1] + (month == 2 && leap);
}

/* Days from 1970-01-01; the year is taken to start in March, so that the leap day is its last. */
static int64_t days_since_epoch(int year, int month, int day)
{
  int64_t march_year = year - (month <= 2);
  int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  return march_year * 365 + march_year / 4 - march_year / 100 + march_year / 400 + day_of_year - 719468;
}

static int read_minute(const uint8_t *at, int64_t *seconds)
{
  unsigned century = pair(at), years = pair(at + 2), month = pair(at + 5), day = pair(at + 8);
  unsigned hour = pair(at + 11), minute = pair(at + 14);
  if (at[4] != '-' || at[7] != '-' || at[10] != 'T' || at[13] != ':' || century > 99 || years > 99)
    return 0;
  int year = (int)(century * 100 + years);
  if (year < 1969 || month < 1 || month > 12 || day < 1 || (int)day > days_of_month(year, month) ||
      hour > 23 || minute > 59)
    return 0;
  *seconds = days_since_epoch(year, (int)month, (int)day) * 86400 + hour * 3600 + minute * 60;
  return 1;
}

/* `at` is behind the seconds. Returns the byte behind the fraction, NULL if it is none. */
static const uint8_t *read_fraction(const uint8_t *at, const uint8_t *end, uint32_t *nanoseconds)
{
  uint32_t value = 0;
  int count = 0;
  if (*at != '.') {
    *nanoseconds = 0;
    return at;
  }
  for (at++; at < end && digit(*at) <= 9 && count < 9; at++, count++)
    value = value * 10 + digit(*at);
  if (count == 0)
    return NULL;
  for (; count < 9; count++)
    value *= 10;
  *nanoseconds = value;
  return at;
}

/* As read_fraction(), for `Z`, `+hh:mm` or `-hh:mm`. */
static const uint8_t *read_zone(const uint8_t *at, const uint8_t *end, int64_t *offset_s)
{
  *offset_s = 0;
  if (at < end && *at == 'Z')
    return at + 1;
  if (end - at < 6 || (*at != '+' && *at != '-') || at[3] != ':')
    return NULL;
  unsigned hours = pair(at + 1), minutes = pair(at + 4);
  if (hours > 23 || minutes > 59)
    return NULL;
  *offset_s = hours * 3600 + minutes * 60;
  if (*at == '-')
    *offset_s = -*offset_s;
  return at + 6;
}

const uint8_t *pw_cri_time(const uint8_t *line, const uint8_t *end, struct pw_cri_clock *clock,
                           struct pw_cri_head *head)
{
  if (end - line < 20 || line[16] != ':')
    return NULL;
  if (memcmp(line, clock->minute, sizeof clock->minute) != 0) {
    if (!read_minute(line, &clock->seconds))
      return NULL;
    memcpy(clock->minute, line, sizeof clock->minute);
  }
  unsigned second = pair(line + 17);
  int64_t offset_s = 0;
  const uint8_t *at = read_fraction(line + 19, end, &head->nanoseconds);
  if (second > 60 || !at || !(at = read_zone(at, end, &offset_s))) /* 60: a leap second */
    return NULL;
  int64_t seconds = clock->seconds + second - offset_s;
  if (seconds < 0 || seconds > UINT32_MAX)
    return NULL;
  head->seconds = (uint32_t)seconds;
  head->time = (struct pw_text){line, (size_t)(at - line)};
  return at;
}

static const uint8_t *read_stream(const uint8_t *at, const uint8_t *end, struct pw_cri_head *head)
{
  if (end - at < 8)
    return NULL;
  head->is_stderr = memcmp(at, " stderr ", 8) == 0;
  if (!head->is_stderr && memcmp(at, " stdout ", 8) != 0)
    return NULL;
  head->stream = (struct pw_text){at + 1, 6};
  return at + 8;
}

static const uint8_t *read_logtag(const uint8_t *at, const uint8_t *end, struct pw_cri_head *head)
{
  if (end - at < 2 || (*at != 'F' && *at != 'P'))
    return NULL;
  const uint8_t *behind = at + 1;
  if (*behind == ':') {
    size_t bytes = (size_t)(end - at);
    behind = memchr(at, ' ', bytes < PW_CRI_LOGTAG_BYTES + 1 ? bytes : PW_CRI_LOGTAG_BYTES + 1);
  }
  if (!behind || *behind != ' ')
    return NULL;
  head->is_partial = *at == 'P';
  head->logtag = (struct pw_text){at, (size_t)(behind - at)};
  return behind + 1;
}

int pw_cri_head(const uint8_t *line, size_t bytes, struct pw_cri_clock *clock, struct pw_cri_head *head)
{
  const uint8_t *end = line + bytes;
  const uint8_t *at = pw_cri_time(line, end, clock, head);
  if (!at || !(at = read_stream(at, end, head)) || !(at = read_logtag(at, end, head)))
    return 0;
  head->bytes = (size_t)(at - line);
  return 1;
}
