#include "memory.h"

#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

void pw_memory_keep(size_t block_bytes, size_t kept_bytes)
{
#if defined(M_MMAP_THRESHOLD) && defined(M_TRIM_THRESHOLD) && defined(M_ARENA_MAX)
  (void)mallopt(M_ARENA_MAX, 1);
  (void)mallopt(M_MMAP_THRESHOLD, (int)block_bytes);
  (void)mallopt(M_TRIM_THRESHOLD, (int)kept_bytes);
#else
  (void)block_bytes;
  (void)kept_bytes;
#endif
}

void pw_memory_give_back(void)
{
#if defined(M_TRIM_THRESHOLD)
  (void)malloc_trim(0);
#endif
}

void pw_memory_forget(void *block, size_t bytes)
{
  const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), start = (uintptr_t)block;
  const uintptr_t first = (start + page - 1) / page * page, end = (start + bytes) / page * page;
  if (first < end)
    (void)madvise((void *)first, end - first, MADV_DONTNEED);
}

enum { HEAD_BYTES = 64 }; /* before the block: its size */

void *pw_memory_map(size_t bytes)
{
  const size_t size = bytes + HEAD_BYTES;
  size_t *head = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (head == MAP_FAILED)
    return NULL;
  *head = size;
  return (uint8_t *)head + HEAD_BYTES;
}

void pw_memory_unmap(void *block)
{
  size_t *head = (size_t *)(void *)((uint8_t *)block - HEAD_BYTES);
  munmap(head, *head);
}

void *pw_memory_table(size_t count, size_t bytes)
{
  void *table = calloc(count, bytes);
  if (table != NULL)
    pw_memory_forget(table, count * bytes); /* such a page is all zero again when it is taken anew */
  return table;
}
