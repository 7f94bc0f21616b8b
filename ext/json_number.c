#include "json_number.h"

#include <math.h>
#include <stdlib.h>

#include "msgpack.h"

static inline int is_digit(uint8_t byte)
{
  return (uint8_t)(byte - '0') < 10;
}

/* Digits as far as 64 bits hold them exactly; the rest is only counted. */
struct decimal {
  uint64_t digits;
  int exponent;    /* of ten */
  int exact;
};

static const uint8_t *digits(const uint8_t *at, const uint8_t *end, struct decimal *number, int fraction)
{
  const uint8_t *start = at;
  uint64_t value = number->digits;
  unsigned digit;
  for (; at < end && (digit = (unsigned)*at - '0') < 10 && value < UINT64_MAX / 10; at++)
    value = value * 10 + digit;
  if (at < end && is_digit(*at) && value == UINT64_MAX / 10 && *at - '0' <= (int)(UINT64_MAX % 10))
    value = value * 10 + (*at++ - '0');
  number->digits = value;
  number->exponent -= fraction ? (int)(at - start) : 0;
  for (; at < end && is_digit(*at); at++)
    number->exact = 0;
  return at;
}

static const uint8_t *exponent(const uint8_t *at, const uint8_t *end, struct decimal *number)
{
  int negative = 0, value = 0;
  if (at < end && (*at == '+' || *at == '-'))
    negative = *at++ == '-';
  if (at >= end || !is_digit(*at))
    return NULL;
  for (; at < end && is_digit(*at); at++)
    if (value < 100000)
      value = value * 10 + (*at - '0');
  number->exponent += negative ? -value : value;
  return at;
}

/* Up to 2^53 and 10^22 are exact as float64, so one operation rounds rightly. All
 * else is strtod's: it stops at `end` by itself, as no number goes on there. */
static const uint8_t *put_float(const uint8_t *start, const uint8_t *end, const struct decimal *number,
                                int negative, uint8_t **out)
{
  static const double TENS[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
  double value;
  if (number->exact && number->digits <= (uint64_t)1 << 53 && number->exponent >= -22 &&
      number->exponent <= 22) {
    value = (double)number->digits;
    value = number->exponent < 0 ? value / TENS[-number->exponent] : value * TENS[number->exponent];
    value = negative ? -value : value;
  } else {
    char *stopped;
    value = strtod((const char *)start, &stopped);
    if ((const uint8_t *)stopped != end || isinf(value))
      return NULL;
  }
  *out = pw_put_double(*out, value);
  return end;
}

const uint8_t *pw_json_number(const uint8_t *start, const uint8_t *end, uint8_t **out)
{
  const uint8_t *at = start;
  struct decimal number = {.exact = 1};
  int negative = *at == '-';
  int integer = 1;
  at += negative;
  if (at >= end || !is_digit(*at))
    return NULL;
  at = *at == '0' ? at + 1 : digits(at, end, &number, 0);
  if (at < end && *at == '.') {
    const uint8_t *fraction = at + 1;
    integer = 0;
    at = digits(fraction, end, &number, 1);
    if (at == fraction)
      return NULL;
  }
  if (at < end && (*at | 0x20) == 'e') {
    integer = 0;
    at = exponent(at + 1, end, &number);
  }
  if (!at || at >= end)
    return NULL;
  if (!integer || !number.exact || (negative && number.digits > (uint64_t)1 << 63))
    return put_float(start, at, &number, negative, out);
  *out = negative ? pw_put_int(*out, (int64_t)-number.digits) : pw_put_uint(*out, number.digits);
  return at;
}
