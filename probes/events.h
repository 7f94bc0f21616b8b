/* The records that cross from the kernel to the collector. The one contract:
 * BCC's clang compiles this file into the probes, the C compiler compiles it
 * into the extension, and both refuse it when a size is not the one asserted.
 *
 * Rules: only fixed-width kernel types; every byte has a name (padding too);
 * a variable part is always the last member, its lengths stand before it; a
 * field whose meaning needs user space carries the raw kernel value.
 * Times are CLOCK_BOOTTIME nanoseconds. Addresses are in network byte order,
 * IPv4 in the first four bytes. Ports are in host byte order. */
#ifndef PODWITNESS_EVENTS_H
#define PODWITNESS_EVENTS_H

#define PW_COMM_BYTES 16
#define PW_ARGS_BYTES 4096     /* argv kept of one exec, NULs included */
#define PW_PATH_BYTES 4096     /* exe path, cwd: components leaf first, NUL ended */
#define PW_FILENAME_BYTES 256  /* what was passed to execve */
#define PW_INTERPRETER_BYTES 256
#define PW_ENVIRONMENT_BYTES 16384 /* the last of it, when it is longer */
/* All parts of an exec; with its fixed part less than the 32 KiB that a per-CPU map holds. */
#define PW_EXEC_DATA_BYTES 29696
#define PW_TTY_BYTES 16
#define PW_ANCESTORS 8
#define PW_CGROUP_PATH_BYTES 512
#define PW_DNS_BYTES 2048      /* kept of one packet */
#define PW_DNS_SHORT_BYTES 512
#define PW_TEXT_BYTES 255      /* kept of each string that is passed to a system call */
#define PW_PRIVILEGE_DATA_BYTES 8192
#define PW_ARGUMENTS 6
#define PW_IDENTITIES 16

/* No kind: its place in the map `lost` counts how often the table of live processes had no room. */
#define PW_UNTRACKED 0

enum pw_kind {
  PW_EXEC = 1,
  PW_FORK = 2,
  PW_EXIT = 3,
  PW_TCP_CONNECT = 4,      /* an outgoing connection is established */
  PW_TCP_CONNECT_FAILED = 5,
  PW_TCP_LISTEN = 6,
  PW_TCP_ACCEPT = 7,       /* an incoming connection is established */
  PW_TCP_CLOSE = 8,
  PW_TCP_UNLISTEN = 9,
  PW_CGROUP_MKDIR = 10,
  PW_CGROUP_RMDIR = 11,
  PW_STATE_PROCESS = 12,   /* there before the probes, as the next three; a pw_exec without filename */
  PW_STATE_LISTENER = 13,
  PW_STATE_CONNECTION = 14,
  PW_STATE_BOUND = 15,     /* the same of a UDP socket with a port; a pw_bind */
  PW_SESSION_START = 16,   /* somebody from outside has begun to run programs in a container */
  PW_SESSION_END = 17,     /* the last process of such a tree has ended */
  /* 20-34: flows; 40-69: privileges; 70-75: files */
  PW_FLOW_START = 20,      /* UDP, ICMP: the first packet between a socket and an address */
  PW_FLOW_UPDATE = 21,     /* made by the collector out of the table `flows`: it goes on */
  PW_FLOW_END = 22,
  PW_FLOW_CLOSED = 23,     /* for the collector only: all flows of socket_id are over */
  PW_BIND = 24,            /* bind(2) to an address and port */
  PW_DNS = 25,             /* a packet from or to a DNS port */
  PW_PRIVILEGE_SETUID = 40,
  PW_PRIVILEGE_SETGID = 41,
  PW_PRIVILEGE_CAPSET = 42,
  PW_PRIVILEGE_PTRACE = 43,
  PW_PRIVILEGE_MOUNT = 44,
  PW_PRIVILEGE_UMOUNT = 45,
  PW_PRIVILEGE_PIVOT_ROOT = 46,
  PW_PRIVILEGE_CHROOT = 47,
  PW_PRIVILEGE_UNSHARE = 48,
  PW_PRIVILEGE_SETNS = 49,
  PW_PRIVILEGE_CLONE = 50,  /* with new namespaces */
  PW_PRIVILEGE_BPF = 51,
  PW_PRIVILEGE_PERF_EVENT_OPEN = 52,
  PW_PRIVILEGE_LOAD_MODULE = 53,
  PW_PRIVILEGE_DELETE_MODULE = 54,
  PW_PRIVILEGE_KEXEC_LOAD = 55,
  PW_PRIVILEGE_MEMFD_CREATE = 56,
  PW_PRIVILEGE_VM_WRITE = 57,
  PW_PRIVILEGE_KEYCTL = 58,
  PW_PRIVILEGE_CHMOD = 59,  /* to a mode with set-user-id or set-group-id */
  PW_PRIVILEGE_CHOWN = 60,
  PW_PRIVILEGE_MKNOD = 61,  /* of a device */
  PW_PRIVILEGE_SYMLINK = 62, /* to a place that matters */
  PW_PRIVILEGE_LINK = 63,
  PW_PRIVILEGE_KILL = 64,   /* a signal into another cgroup, or one that was refused */
  PW_PRIVILEGE_OOM_KILL = 65,
  PW_PRIVILEGE_CGROUP_ATTACH = 66,
  PW_PRIVILEGE_OPEN_BY_HANDLE = 67,
  PW_PRIVILEGE_IO_URING_SETUP = 68,
  PW_PRIVILEGE_SETXATTR = 69, /* of a file's capabilities */
  PW_PRIVILEGE_FILE_READ = 70, /* of watched files: opened to be read */
  PW_PRIVILEGE_FILE_WRITE = 71,
  PW_PRIVILEGE_FILE_DELETE = 72,
  PW_PRIVILEGE_FILE_RENAME = 73,
  PW_PRIVILEGE_FILE_CONNECT = 74, /* to a watched socket */
  PW_KINDS = 80,           /* size of tables by kind; there are gaps, and 0 is unused */
};

/* Which ring a record goes to: flows have one of their own, so that a flood of them can't push out what is
 * rarer and says more. All else is in the other, in the order in which it happened: a cgroup is made before the
 * first exec in it. */
#define PW_IS_FLOW(kind) \
  (((kind) >= PW_TCP_CONNECT && (kind) <= PW_TCP_UNLISTEN) || ((kind) >= 20 && (kind) <= 34) || \
   ((kind) >= PW_STATE_LISTENER && (kind) <= PW_STATE_BOUND))

enum pw_flag {             /* pw_head.flags */
  PW_ARGS_CUT = 1 << 0,    /* argv was longer than PW_ARGS_BYTES; args_total_bytes tells */
  PW_EXE_CUT = 1 << 1,     /* path deeper or longer than the walk goes */
  PW_CWD_CUT = 1 << 2,
  PW_FILENAME_CUT = 1 << 3,
  PW_MEMFD = 1 << 4,       /* the binary is a memfd: it never had a name */
  PW_UPPER_LAYER = 1 << 5, /* the binary is in an overlay's upper layer: not from the image */
  PW_DELETED = 1 << 6,     /* the binary has no name any more */
  PW_ARGS_UNREADABLE = 1 << 7,
  PW_RESET = 1 << 8,       /* TCP: closed by a reset */
  PW_OWNER_UNKNOWN = 1 << 9, /* TCP: opened before the probes; if nobody had it open then, pid is 0 */
  PW_KERNEL_SOCKET = 1 << 10, /* flow: the kernel itself answers; socket_id is the namespace */
  PW_BY_NETNS = 1 << 11,    /* flow: cgroup_id is one that uses the network namespace */
  PW_SCRIPT = 1 << 12,     /* filename is a script, and the binary its interpreter */
  PW_INTERPRETER_CUT = 1 << 13,
  PW_ENVIRONMENT_CUT = 1 << 14, /* only its last PW_ENVIRONMENT_BYTES are there */
  PW_CREDENTIALS_CHANGED = 1 << 15, /* the exec gave other ones than those of `before` */
};

enum pw_tree {             /* where a process descends from, as seen from its container */
  PW_TREE_UNKNOWN = 0,
  PW_TREE_INIT = 1,        /* the container's (or service's) first process */
  PW_TREE_ENTERED = 2,     /* a process that came in later, from outside */
};

enum pw_entered_by {       /* what was entered */
  PW_ENTERED_NOTHING = 0,
  PW_ENTERED_CGROUP = 1,   /* the container's cgroup only */
  PW_ENTERED_MOUNTS = 2,   /* the container's mount namespace only: nsenter */
  PW_ENTERED_BOTH = 3,     /* as a runtime does it: kubectl exec, exec probes, crictl exec */
};

enum pw_role { PW_CLIENT = 1, PW_SERVER = 2, PW_LISTENER = 3 };

enum pw_owner_source {     /* how the process behind a socket was learnt, best last */
  PW_OWNER_NONE = 0,
  PW_OWNER_BY_LISTENER = 1, /* who called listen(): the master, maybe not the worker */
  PW_OWNER_BY_CLOSE = 2,
  PW_OWNER_BY_IO = 3,       /* first read or write */
  PW_OWNER_BY_CALL = 4,     /* connect() or listen() itself */
  PW_OWNER_BY_BIND = 5,     /* who called bind(); for a flow less than PW_OWNER_BY_IO */
  PW_OWNER_BY_DESCRIPTOR = 6, /* had it open when the probes came, the first of several; I/O tells better */
};

enum pw_end_cause {         /* of a PW_FLOW_END */
  PW_END_NONE = 0,
  PW_END_CLOSED = 1,        /* the socket was closed */
  PW_END_IDLE = 2,          /* no packet for the idle time */
  PW_END_EVICTED = 3,       /* its place was needed by another; it may go on as a new one */
  PW_END_CONTENDED = 4,     /* a flow of one packet: its place in the table was being changed */
};

struct pw_head {
  __u16 kind;
  __u16 flags;
  __u32 record_bytes;      /* the whole record, this head included */
  __u64 time_ns;
  __u64 cgroup_id;         /* cgroup v2 inode of the process, or of the socket's owner */
};

/* Of which tree a process is. The first program executed in it is the entry; in a tree that came in from
 * outside it is the root of a session, and names it. To be embedded wherever a process is told of. */
struct pw_entry {
  __u64 entry_start_ns;    /* with entry_pid an entity; 0: nothing was executed yet, or not known */
  __u32 entry_pid;
  __u8 tree;               /* enum pw_tree */
  __u8 entered_by;         /* enum pw_entered_by */
  __u8 entry_pad[2];
};

struct pw_task {
  struct pw_entry entry;
  __u64 start_ns;          /* thread group leader's start_boottime */
  __u64 parent_start_ns;
  __u64 cap_effective;
  __u64 cap_permitted;
  __u64 cap_inheritable;
  __u64 cap_ambient;
  __u32 pid;               /* kernel: tgid */
  __u32 tid;
  __u32 parent_pid;
  __u32 namespace_pid;     /* pid in its innermost pid namespace */
  __u32 uid;
  __u32 gid;
  __u32 euid;
  __u32 egid;
  __u32 suid;
  __u32 sgid;
  __u32 loginuid;          /* 4294967295: not set */
  __u32 audit_session;     /* 4294967295: not set */
  __u32 mnt_ns;
  __u32 pid_ns;
  __u32 net_ns;
  __u32 user_ns;
  __u32 uts_ns;
  __u32 ipc_ns;
  __u32 cgroup_ns;
  __u32 maker_pid;         /* PW_FORK: who made it, not always the parent: CLONE_PARENT; else 0 */
  char comm[PW_COMM_BYTES];
  char parent_comm[PW_COMM_BYTES];
};

struct pw_ancestor {       /* as it was when it forked */
  __u64 start_ns;
  __u32 pid;
  __u32 pad;
  char comm[PW_COMM_BYTES];
};

struct pw_credentials {    /* those that an exec put away */
  __u64 old_cap_effective;
  __u64 old_cap_permitted;
  __u32 old_euid;
  __u32 old_egid;
};

struct pw_exec {
  struct pw_head head;
  struct pw_task task;
  struct pw_credentials before; /* with PW_CREDENTIALS_CHANGED */
  __u64 group_leader_start_ns;  /* of the process group; 0: it is gone */
  __u64 session_leader_start_ns; /* of setsid(2) */
  __u64 inode;
  __u32 device;            /* kernel's dev_t: major << 20 | minor */
  __u32 mode;
  __u32 argc;
  __u32 args_total_bytes;  /* before the cut */
  __u32 environment_total_bytes; /* 0 unless variables are wanted */
  __u32 group_leader_pid;
  __u32 session_leader_pid;
  __u32 tty_device;        /* as device; 0: no controlling terminal */
  __u16 args_bytes;        /* lengths of the parts of data, in this order */
  __u16 exe_bytes;
  __u16 cwd_bytes;
  __u16 filename_bytes;    /* NUL not counted */
  __u16 interpreter_bytes; /* NUL not counted; with PW_SCRIPT */
  __u16 environment_bytes; /* NAME=VALUE, NULs included; what is cut starts within one */
  __u16 ancestors;         /* so many struct pw_ancestor, parent first, end the record; maybe not aligned */
  __u16 pad;
  char tty[PW_TTY_BYTES];  /* the kernel's name: pts3 */
  char data[];
};

struct pw_fork {           /* task is the child */
  struct pw_head head;
  struct pw_task task;
};

struct pw_exit {
  struct pw_head head;
  struct pw_task task;
  __u64 duration_ns;       /* since start_ns */
  __u64 user_ns_total;     /* CPU time of the whole group */
  __u64 system_ns_total;
  __u64 peak_memory_bytes; /* resident, as ru_maxrss */
  __u32 status;            /* as wait(2) has it: exit code << 8 | signal */
  __u32 pad;
};

/* task: the first program of the tree, at PW_SESSION_END the last process. head.cgroup_id is that of the
 * container which was entered. */
struct pw_session {
  struct pw_head head;
  struct pw_task task;
  __u64 process_cgroup_id; /* another than the container's, where only its namespaces were entered */
  __u64 duration_ns;       /* PW_SESSION_END */
  __u32 processes;         /* PW_SESSION_END: how many there were */
  __u32 tty_device;        /* PW_SESSION_START, as the next */
  char tty[PW_TTY_BYTES];
};

struct pw_tcp {            /* all PW_TCP_* kinds */
  struct pw_head head;
  struct pw_entry entry;   /* of the owner */
  __u64 socket_id;         /* same for all records of one socket */
  __u64 duration_ns;       /* since connect(), accept or listen(); 0 where it has no meaning */
  __u64 owner_start_ns;
  __u64 net_cookie;        /* of the network namespace; 0: the kernel has none */
  __u64 bytes_sent;        /* payload, as all four; with what was sent again */
  __u64 bytes_acked;
  __u64 bytes_received;
  __u64 bytes_retransmitted;
  __u32 owner_pid;
  __u32 owner_uid;
  __u32 net_ns;
  __u32 retransmits;
  __u32 rtt_us;            /* smoothed */
  __u32 segments_in;
  __u32 segments_out;
  __u32 backlog;           /* PW_TCP_LISTEN */
  __u16 family;            /* AF_INET 2, AF_INET6 10 */
  __u16 local_port;
  __u16 remote_port;
  __u16 error;             /* errno of a failed connect, 0 if none */
  __u8 role;
  __u8 owner_source;
  __u8 pad[6];
  __u8 local_address[16];
  __u8 remote_address[16];
  char comm[PW_COMM_BYTES];
};

/* UDP and ICMP between a socket and one other end. It is also what stands in the map `flows`, hence its order:
 * what finds it, and only that, is from socket_id to key_pad. ICMP has the type in local_port, the code in remote_port;
 * an echo reply counts as of its request. Bytes are payload, for ICMP with its header. */
#define PW_ENTRY_WAY(entry) ((entry)->tree | (entry)->entered_by << 4)
struct pw_flow {
  struct pw_head head;
  __u64 socket_id;
  __u8 local_address[16];
  __u8 remote_address[16];
  __u16 family;
  __u16 local_port;
  __u16 remote_port;
  __u8 protocol;           /* IPPROTO_*: 17, 1, 58 */
  __u8 key_pad;            /* 0 */
  __u64 first_ns;          /* 0: the place in the table is free */
  __u64 last_ns;           /* older by up to a tick of the kernel's (10 ms) once there were 16 packets */
  __u64 bytes_sent;
  __u64 packets_sent;
  __u64 bytes_received;
  __u64 packets_received;
  __u64 net_cookie;        /* 0: the kernel has none */
  __u64 owner_start_ns;
  __u64 entry_start_ns;
  __u32 entry_pid;
  __u32 owner_pid;
  __u32 owner_uid;
  __u32 net_ns;
  __u32 slot;              /* place in the table */
  __u8 is_ingress;         /* the first packet came in: the other end is the client */
  __u8 owner_source;
  __u8 end_cause;          /* in the table: not 0 once it was reported as ended */
  __u8 entry_way;          /* PW_ENTRY_WAY of the owner's entry: there is no room for a struct pw_entry */
  char comm[PW_COMM_BYTES];
};

struct pw_flow_slot {
  __u32 version;           /* odd while the kernel puts another flow in */
  __u32 tick;              /* of the kernel's clock, when last_ns was written */
  struct pw_flow flow;     /* what is counted for each packet is in the first two cache lines */
};

struct pw_bind {
  struct pw_head head;
  struct pw_entry entry;   /* of the owner */
  __u64 socket_id;
  __u64 net_cookie;
  __u64 owner_start_ns;
  __u32 owner_pid;
  __u32 owner_uid;
  __u32 net_ns;
  __u16 family;
  __u16 local_port;
  __u8 protocol;
  __u8 pad[7];
  __u8 local_address[16];
  char comm[PW_COMM_BYTES];
};

struct pw_dns {            /* what a packet carries, from its first byte on */
  struct pw_head head;
  struct pw_entry entry;   /* of the owner */
  __u64 socket_id;
  __u64 net_cookie;
  __u64 took_ns;           /* of an answer: since its query; the collector finds it out */
  __u64 owner_start_ns;
  __u32 owner_pid;
  __u32 owner_uid;
  __u32 net_ns;
  __u32 sequence;          /* TCP: of the first byte */
  __u32 payload_total_bytes; /* before the cut */
  __u16 payload_bytes;
  __u16 family;
  __u16 local_port;
  __u16 remote_port;
  __u8 protocol;           /* 17 or 6 */
  __u8 is_ingress;
  __u8 owner_source;
  __u8 pad;
  __u8 local_address[16];
  __u8 remote_address[16];
  char comm[PW_COMM_BYTES];
  __u8 payload[];
};

struct pw_cgroup {         /* head.cgroup_id is the cgroup that was made or removed */
  struct pw_head head;
  __u32 level;
  __u16 path_bytes;        /* NUL not counted; data is path_bytes + 1 long */
  __u16 pad;
  char path[];
};

enum pw_identity {         /* places in pw_privilege.before and .after */
  PW_ID_UID = 0,
  PW_ID_EUID = 1,
  PW_ID_SUID = 2,
  PW_ID_FSUID = 3,
  PW_ID_GID = 4,
  PW_ID_EGID = 5,
  PW_ID_SGID = 6,
  PW_ID_FSGID = 7,
  PW_NS_MNT = 8,
  PW_NS_PID_CHILDREN = 9,  /* the pid namespace of children to come */
  PW_NS_NET = 10,
  PW_NS_USER = 11,
  PW_NS_UTS = 12,
  PW_NS_IPC = 13,
  PW_NS_CGROUP = 14,
  PW_NS_TIME_CHILDREN = 15,
};

enum pw_privilege_mark {   /* pw_privilege.marks */
  PW_BEFORE_KNOWN = 1,     /* before and after have been filled */
  PW_PROGRAM_I386 = 2,     /* called as a 32-bit program does; arguments are 32 bits */
  PW_TEXT_CUT = 4,         /* a text was longer than PW_TEXT_BYTES */
  PW_PATH_CUT = 8,
  PW_TARGET_KNOWN = 16,    /* target_* have been filled */
  PW_GROUP = 32,           /* signal: to a whole process, not to a thread of it */
  PW_OF_WATCHED = 64,      /* link: one of its names is that of a watched file */
  PW_MADE_SET_ID = 128,    /* chmod: by a call that opened the file and made it with such a mode */
  PW_BY_IO_URING = 256,    /* asked for by a request of io_uring, as the call would; there is no result yet */
};

struct pw_privilege {      /* all PW_PRIVILEGE_* kinds; task is as it is after the call */
  struct pw_head head;
  struct pw_task task;
  __u64 arguments[PW_ARGUMENTS]; /* of the call; else a signal's number, or clone's flags in the first. Of setxattr
                                    the last is the permitted set that the file got, with PW_MADE_SET_ID its mode */
  __u64 result;            /* what the call returned: two's complement, an errno is negative */
  __u64 target_start_ns;   /* of the process that something was done to */
  __u64 target_cgroup_id;
  __u64 capabilities_before[2]; /* effective, permitted */
  __u64 capabilities_after[2];
  __u32 before[PW_IDENTITIES]; /* by enum pw_identity */
  __u32 after[PW_IDENTITIES];
  __u32 target_pid;
  __u32 target_uid;
  __u16 call;              /* place in CALLS of syscalls.py, from 1 on; 0: told by a tracepoint of its own */
  __u16 marks;
  __u16 text_bytes[3];     /* lengths of the parts of data, in this order; a text's NUL is not counted */
  __u16 path_bytes;        /* of the descriptor that was passed, or the folder that a path starts from:
                              components leaf first, NUL ended */
  __u32 pad;
  char target_comm[PW_COMM_BYTES];
  char data[];
};

#define PW_SIZE(type, bytes) \
  _Static_assert(sizeof(struct type) == (bytes), "struct " #type " is not " #bytes " bytes")
PW_SIZE(pw_head, 24);
PW_SIZE(pw_entry, 16);
PW_SIZE(pw_task, 176);
PW_SIZE(pw_ancestor, 32);
PW_SIZE(pw_credentials, 24);
PW_SIZE(pw_exec, 312);
PW_SIZE(pw_fork, 200);
PW_SIZE(pw_exit, 240);
PW_SIZE(pw_session, 240);
PW_SIZE(pw_tcp, 200);
PW_SIZE(pw_flow, 184);
PW_SIZE(pw_flow_slot, 192);
PW_SIZE(pw_bind, 120);
PW_SIZE(pw_dns, 152);
PW_SIZE(pw_cgroup, 32);
PW_SIZE(pw_privilege, 472);

#endif
