/* Names of the errnos that connections and privileged calls end with; a rare one is written as number. */
#include "event_encode.h"

uint8_t *pw_put_errno(uint8_t *p, unsigned number)
{
  static const struct {
    uint16_t number;
    struct pw_word name;
  } names[] = {{1, PW_WORD("EPERM")},          {2, PW_WORD("ENOENT")},        {3, PW_WORD("ESRCH")},
               {4, PW_WORD("EINTR")},          {5, PW_WORD("EIO")},           {6, PW_WORD("ENXIO")},
               {7, PW_WORD("E2BIG")},          {8, PW_WORD("ENOEXEC")},       {9, PW_WORD("EBADF")},
               {10, PW_WORD("ECHILD")},        {11, PW_WORD("EAGAIN")},       {12, PW_WORD("ENOMEM")},
               {13, PW_WORD("EACCES")},        {14, PW_WORD("EFAULT")},       {15, PW_WORD("ENOTBLK")},
               {16, PW_WORD("EBUSY")},         {17, PW_WORD("EEXIST")},       {18, PW_WORD("EXDEV")},
               {19, PW_WORD("ENODEV")},        {20, PW_WORD("ENOTDIR")},      {21, PW_WORD("EISDIR")},
               {22, PW_WORD("EINVAL")},        {23, PW_WORD("ENFILE")},       {24, PW_WORD("EMFILE")},
               {26, PW_WORD("ETXTBSY")},       {28, PW_WORD("ENOSPC")},       {30, PW_WORD("EROFS")},
               {31, PW_WORD("EMLINK")},        {32, PW_WORD("EPIPE")},        {36, PW_WORD("ENAMETOOLONG")},
               {38, PW_WORD("ENOSYS")},        {39, PW_WORD("ENOTEMPTY")},    {40, PW_WORD("ELOOP")},
               {71, PW_WORD("EPROTO")},        {75, PW_WORD("EOVERFLOW")},    {87, PW_WORD("EUSERS")},
               {92, PW_WORD("ENOPROTOOPT")},   {95, PW_WORD("EOPNOTSUPP")},   {98, PW_WORD("EADDRINUSE")},
               {99, PW_WORD("EADDRNOTAVAIL")}, {100, PW_WORD("ENETDOWN")},    {101, PW_WORD("ENETUNREACH")},
               {102, PW_WORD("ENETRESET")},    {103, PW_WORD("ECONNABORTED")}, {104, PW_WORD("ECONNRESET")},
               {105, PW_WORD("ENOBUFS")},      {110, PW_WORD("ETIMEDOUT")},   {111, PW_WORD("ECONNREFUSED")},
               {112, PW_WORD("EHOSTDOWN")},    {113, PW_WORD("EHOSTUNREACH")}, {116, PW_WORD("ESTALE")},
               {122, PW_WORD("EDQUOT")},       {126, PW_WORD("ENOKEY")},      {127, PW_WORD("EKEYEXPIRED")},
               {128, PW_WORD("EKEYREVOKED")},  {129, PW_WORD("EKEYREJECTED")}};
  for (unsigned at = 0; at < sizeof names / sizeof names[0]; at++)
    if (names[at].number == number)
      return put_word(p, &names[at].name);
  return pw_put_decimal(p, number);
}
