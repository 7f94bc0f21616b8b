/* One source, two ways for a program to reach kernel memory.
 *
 * PW_TP_BTF: the program is of type tp_btf. Its arguments are typed pointers, the verifier lets it follow them
 * like C does, and a fault reads as zero. About half the cost of the other.
 * Otherwise: raw_tp. Arguments are numbers, every step is a bpf_probe_read_kernel.
 * Which one is compiled is chosen by catalog.py, never by hand. */
#ifndef PODWITNESS_DIALECT_H
#define PODWITNESS_DIALECT_H

/* A map made by the loader before it compiles; catalog.py has the table. */
#define MAP(name) ((void *)bpf_pseudo_fd(1, PW_MAP_##name))

/* The program of a tracepoint; ARGUMENT(n) is its nth argument, as in the kernel's TP_PROTO. */
#define PROGRAM(tracepoint) int on_##tracepoint(u64 *ctx)
#define ARGUMENT(n) ((void *)ctx[n])

/* Where the program of a walk writes what its reader gets. */
#define SEQUENCE() (((struct bpf_iter_meta *)ctx[0])->seq)

/* By their numbers: BCC puts the older bpf_probe_read in place of these where it may not read the kernel's
 * symbols, which compiler.py sees to, and programs of cgroups may not call that. Since 5.5. */
static long (*read_user)(void *to, u32 bytes, const void *from) = (void *)112;
static long (*read_kernel)(void *to, u32 bytes, const void *from) = (void *)113;
static long (*read_user_text)(void *to, u32 bytes, const void *from) = (void *)114;
static long (*read_kernel_text)(void *to, u32 bytes, const void *from) = (void *)115;
#define bpf_probe_read_user read_user
#define bpf_probe_read_kernel read_kernel
#define bpf_probe_read_user_str read_user_text
#define bpf_probe_read_kernel_str read_kernel_text

/* A scalar or pointer member, read explicitly: for pointers that the verifier does not know the type of. */
#define PROBED(pointer, member) ({ \
  typeof((pointer)->member) value_ = 0; \
  read_kernel(&value_, sizeof(value_), &(pointer)->member); \
  value_; \
})

/* TYPED(S, pointer): the same pointer, which the verifier lets programs of tp_btf follow as a struct S, wherever
 * it came from (bpf_rdonly_cast, since 6.2). It costs nothing when the program runs. Without it, arguments are
 * followed as they are, and pointers that come out of arithmetic or memory by probe reads: FOLLOWED().
 *
 * For arguments it saves the verifier's time. For each pointer that is read out of a trusted one it searches all
 * the kernel's types by name, four times, which takes a millisecond, in each branch that leads there. */
#define KERNEL_FUNCTION 0x70000000 /* as in compiler.py */
#if defined(PW_TP_BTF) && defined(FUNCTION_bpf_rdonly_cast)
static void *(*rdonly_cast)(const void *pointer, u32 type) = (void *)(KERNEL_FUNCTION + FUNCTION_bpf_rdonly_cast);
#define CASTS_POINTERS
#define TYPED(type, pointer) ((struct type *)rdonly_cast(pointer, TYPE_##type))
#define FOLLOWED(pointer, member) ((pointer)->member)
#else
#define TYPED(type, pointer) ((struct type *)(pointer))
#define FOLLOWED(pointer, member) PROBED(pointer, member)
#endif

/* The process that has the number in the caller's namespace, held until it is released (since 6.14). */
#if defined(PW_TP_BTF) && defined(FUNCTION_bpf_task_from_vpid)
static struct task_struct *(*task_from_vpid)(s32 number) =
    (void *)(KERNEL_FUNCTION + FUNCTION_bpf_task_from_vpid);
static void (*task_release)(struct task_struct *task) = (void *)(KERNEL_FUNCTION + FUNCTION_bpf_task_release);
#endif

/* WORD(pointer, n): eight bytes at any address, the nth after it. Less than a call costs, where a call has to be made
 * otherwise. Two numbers of 64 bits are all that the verifier has to know. */
#ifdef CASTS_POINTERS
#define WORD(pointer, n) ({ \
  struct timespec64 *words_ = TYPED(timespec64, (const char *)(pointer) + (n) / 2 * 16); \
  (u64)((n) % 2 ? words_->tv_nsec : words_->tv_sec); \
})
#endif

/* A pointer as a number to calculate with, which the verifier takes from pointers only as their difference. */
static __always_inline u64 number_of(const void *pointer)
{
#if defined(CASTS_POINTERS)
  return (u64)pointer - (u64)TYPED(task_struct, 0);
#elif defined(PW_TP_BTF)
  const void *held = pointer;
  u64 number = 0;
  read_kernel(&number, sizeof(number), &held);
  return number;
#else
  return (u64)pointer;
#endif
}

/* TURNS(number, most) { ... }: a loop that ends after so many turns at the latest. The verifier looks at an ordinary
 * loop once for each turn, at one of these (since 6.4) until a turn has nothing new for it, which it may not notice
 * before 6.8. A turn costs a call: not for loops that are short, or run at each event. */
#if defined(PW_TP_BTF) && defined(FUNCTION_bpf_iter_num_new) && LINUX_VERSION_CODE >= KERNEL_VERSION(6, 8, 0)
#define TURNS_ARE_CALLS
struct turns {
  u64 opaque; /* struct bpf_iter_num */
};
static int (*turns_new)(struct turns *turns, int start, int end) =
    (void *)(KERNEL_FUNCTION + FUNCTION_bpf_iter_num_new);
static int *(*turns_next)(struct turns *turns) = (void *)(KERNEL_FUNCTION + FUNCTION_bpf_iter_num_next);
static void (*turns_destroy)(struct turns *turns) = (void *)(KERNEL_FUNCTION + FUNCTION_bpf_iter_num_destroy);

static __always_inline void end_turns(struct turns *turns)
{
  turns_destroy(turns);
}

#define TURNS(number, most) \
  struct turns turns_##number __attribute__((aligned(8), cleanup(end_turns))); \
  turns_new(&turns_##number, 0, most); \
  for (int *next_##number, number; (next_##number = turns_next(&turns_##number)) && ((number = *next_##number), true);)
#else
#define TURNS(number, most) for (int number = 0; number < most; number++)
#endif

#ifdef PW_TP_BTF
#define FIELD(pointer, member) ((pointer)->member)
#else
#define FIELD(pointer, member) PROBED(pointer, member)
#endif

/* Keeps `value` under `mask` (a power of two less one) in the verifier's eyes; compilers optimise a plain & away
 * when they can prove it needless and so take the proof from the verifier. */
#define BOUND(value, mask) asm volatile("%0 &= %1" : "+r"(value) : "i"(mask))

/* Takes from the compiler what it knows of a value of 64 bits, so that it compares the very register that is used
 * afterwards. It would rather compare what that was made of, which tells the verifier nothing. */
#define OPAQUE(value) asm volatile("" : "+r"(value))

/* The same value out of a map's memory, read again. The verifier knows nothing of it any more, so it does not
 * check all that follows once for each way that the value was come by. */
#define FORGOTTEN(member) (*(volatile typeof(member) *)&(member))

/* Numbers of helpers are kernel ABI (uapi/linux/bpf.h); older BCC does not declare these. */
static u64 (*ring_query)(void *ring, u64 what) = (void *)134;             /* 5.8 */
static void *(*ring_reserve)(void *ring, u64 bytes, u64 flags) = (void *)131;
static void (*ring_submit)(void *record, u64 flags) = (void *)132;
static long (*ring_output)(void *ring, void *record, u64 bytes, u64 flags) = (void *)130;
static struct tcp_sock *(*as_tcp_sock)(void *sk) = (void *)137;           /* 5.9 */
static struct task_struct *(*current_task_btf)(void) = (void *)158;       /* 5.11 */
static u64 (*socket_cookie)(void *sk) = (void *)46;                       /* tracing: 5.12 */
static u64 (*jiffies64)(void) = (void *)118;                              /* 5.6 */
static long (*seq_write)(void *seq, const void *bytes, u32 length) = (void *)127; /* 5.8, of walks */
static struct socket *(*socket_of_file)(void *file) = (void *)162;        /* 5.11 */
static void *(*map_lookup)(void *map, const void *key) = (void *)1;
static long (*map_update)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static long (*map_delete)(void *map, const void *key) = (void *)3;

#if defined(PW_TP_BTF) && LINUX_VERSION_CODE >= KERNEL_VERSION(5, 11, 0)
#define CURRENT_IS_TYPED
#define CURRENT_TASK() TYPED(task_struct, current_task_btf())
#define CURRENT_FIELD(task, member) ((task)->member)
#else
#define CURRENT_TASK() ((struct task_struct *)bpf_get_current_task())
#define CURRENT_FIELD(task, member) PROBED(task, member)
#endif

#endif
