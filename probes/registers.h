/* What a system call was given: the registers as they are when it returns. The C library of no machine passes
 * more than six arguments. */
#ifndef PODWITNESS_REGISTERS_H
#define PODWITNESS_REGISTERS_H
#include "dialect.h"
#include "events.h"

#if defined(HAVE_pt_regs__orig_ax) /* x86_64 */
#define THREAD_STATUS_COMPAT 2 /* TS_COMPAT: in a call of a 32-bit program, or by int 0x80 */

static __always_inline u64 call_number(struct pt_regs *registers)
{
  return FIELD(registers, orig_ax);
}

static __always_inline bool is_compat(struct task_struct *task)
{
  return CURRENT_FIELD(task, thread_info.status) & THREAD_STATUS_COMPAT;
}

static __always_inline void fill_arguments(u64 out[PW_ARGUMENTS], struct pt_regs *registers, bool is_32_bit)
{
  if (is_32_bit) {
    out[0] = (u32)FIELD(registers, bx);
    out[1] = (u32)FIELD(registers, cx);
    out[2] = (u32)FIELD(registers, dx);
    out[3] = (u32)FIELD(registers, si);
    out[4] = (u32)FIELD(registers, di);
    out[5] = (u32)FIELD(registers, bp);
    return;
  }
  out[0] = FIELD(registers, di);
  out[1] = FIELD(registers, si);
  out[2] = FIELD(registers, dx);
  out[3] = FIELD(registers, r10);
  out[4] = FIELD(registers, r8);
  out[5] = FIELD(registers, r9);
}
#elif defined(HAVE_pt_regs__orig_x0) /* arm64: the first register has become the result */
#define THREAD_FLAG_32BIT (1 << 22) /* TIF_32BIT */

static __always_inline u64 call_number(struct pt_regs *registers)
{
  return (u32)FIELD(registers, syscallno);
}

/* The numbers of 32-bit Arm are not known here: such calls are not seen. */
static __always_inline bool is_compat(struct task_struct *task)
{
  return CURRENT_FIELD(task, thread_info.flags) & THREAD_FLAG_32BIT;
}

static __always_inline void fill_arguments(u64 out[PW_ARGUMENTS], struct pt_regs *registers, bool is_32_bit)
{
  out[0] = FIELD(registers, orig_x0);
  out[1] = FIELD(registers, regs[1]);
  out[2] = FIELD(registers, regs[2]);
  out[3] = FIELD(registers, regs[3]);
  out[4] = FIELD(registers, regs[4]);
  out[5] = FIELD(registers, regs[5]);
}
#else
#error "The registers of this machine's system calls are not known: x86_64 and aarch64 are."
#endif

#endif
