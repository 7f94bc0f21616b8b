#include "memory.h"

#include <malloc.h>

void pw_memory_keep(size_t block_bytes, size_t kept_bytes)
{
#if defined(M_MMAP_THRESHOLD) && defined(M_TRIM_THRESHOLD)
  (void)mallopt(M_MMAP_THRESHOLD, (int)block_bytes);
  (void)mallopt(M_TRIM_THRESHOLD, (int)kept_bytes);
#else
  (void)block_bytes;
  (void)kept_bytes;
#endif
}
