// The kernel's interface: numbers, structures, and the system call itself. The only file that knows the architecture.
// The structures are the kernel's, not a libc's; all of them are the same on both architectures.

// Where the code begins, and the part of the client in it. Other compilers put functions where they like.
#define PLACE(name) __asm__(".text\n.globl " name "\n.hidden " name "\n" name ":\n");
PLACE("pf_code")

typedef unsigned long u64;
typedef unsigned int u32;
typedef unsigned short u16;
typedef unsigned char u8;

#if defined(__x86_64__)
enum {
  SYS_read = 0, SYS_close = 3, SYS_mmap = 9, SYS_munmap = 11, SYS_rt_sigaction = 13, SYS_rt_sigprocmask = 14, SYS_ioctl = 16,
  SYS_write = 1, SYS_writev = 20, SYS_getpid = 39, SYS_brk = 12, SYS_socket = 41, SYS_socketpair = 53, SYS_connect = 42, SYS_sendto = 44, SYS_sendmsg = 46, SYS_recvmsg = 47,
  SYS_setsockopt = 54, SYS_getsockopt = 55, SYS_clone = 56, SYS_execve = 59, SYS_kill = 62, SYS_fcntl = 72, SYS_getcwd = 79,
  SYS_fchdir = 81, SYS_umask = 95, SYS_geteuid = 107, SYS_setpgid = 109, SYS_setsid = 112, SYS_getpgid = 121,
  SYS_personality = 135, SYS_getpriority = 140, SYS_setpriority = 141, SYS_prctl = 157, SYS_sched_setaffinity = 203,
  SYS_sched_getaffinity = 204, SYS_getdents64 = 217, SYS_exit_group = 231, SYS_ioprio_set = 251, SYS_ioprio_get = 252,
  SYS_openat = 257, SYS_readlinkat = 267, SYS_ppoll = 271, SYS_signalfd4 = 289, SYS_dup3 = 292, SYS_prlimit64 = 302,
  SYS_sched_setattr = 314, SYS_sched_getattr = 315, SYS_memfd_create = 319, SYS_statx = 332, EM_OURS = 62,
};
#elif defined(__aarch64__)
enum {
  SYS_read = 63, SYS_close = 57, SYS_mmap = 222, SYS_munmap = 215, SYS_rt_sigaction = 134, SYS_rt_sigprocmask = 135, SYS_ioctl = 29,
  SYS_write = 64, SYS_writev = 66, SYS_getpid = 172, SYS_brk = 214, SYS_socket = 198, SYS_socketpair = 199, SYS_connect = 203, SYS_sendto = 206, SYS_sendmsg = 211, SYS_recvmsg = 212,
  SYS_setsockopt = 208, SYS_getsockopt = 209, SYS_clone = 220, SYS_execve = 221, SYS_kill = 129, SYS_fcntl = 25, SYS_getcwd = 17,
  SYS_fchdir = 50, SYS_umask = 166, SYS_geteuid = 175, SYS_setpgid = 154, SYS_setsid = 157, SYS_getpgid = 155,
  SYS_personality = 92, SYS_getpriority = 141, SYS_setpriority = 140, SYS_prctl = 167, SYS_sched_setaffinity = 122,
  SYS_sched_getaffinity = 123, SYS_getdents64 = 61, SYS_exit_group = 94, SYS_ioprio_set = 30, SYS_ioprio_get = 31,
  SYS_openat = 56, SYS_readlinkat = 78, SYS_ppoll = 73, SYS_signalfd4 = 74, SYS_dup3 = 24, SYS_prlimit64 = 261,
  SYS_sched_setattr = 274, SYS_sched_getattr = 275, SYS_memfd_create = 279, SYS_statx = 291, EM_OURS = 183,
};
#else
#error "the head knows x86-64 and arm64"
#endif
// Numbers that TypeScript does not use; all others are in contract.h.
enum { SYS_close_range = 436, SYS_faccessat2 = 439, ALL_SEALS = 0xf, MFD_SEALABLE = 3, SFD_FLAGS = 02004000, TIOCGPGRP = 0x540f };
enum { PROT_READ = 1, PROT_WRITE = 2, PROT_EXEC = 4, MAP_SHARED = 1, MAP_PRIVATE = 2, MAP_FIXED = 0x10, MAP_ANONYMOUS = 0x20 };
enum { CLONE_VM = 0x100, CLONE_VFORK = 0x4000, CLONE_PARENT_SETTID = 0x100000, OVERFLOW_UID = 65534 };
enum { PT_LOAD = 1, PT_INTERP = 3, AT_PHDR = 3, AT_PHNUM = 5, AT_PAGESZ = 6, AT_BASE = 7, AT_ENTRY = 9, ET_DYN = 3 };

struct ehdr { u8 ident[16]; u16 type, machine; u32 version; u64 entry, phoff, shoff; u32 flags; u16 ehsize, phentsize, phnum, shentsize, shnum, shstrndx; };
struct phdr { u32 type, flags; u64 offset, vaddr, paddr, filesz, memsz, align; };
struct iovec { const void *base; u64 size; };
struct msghdr { void *name; u32 namelen, pad; struct iovec *iov; u64 iovlen; void *control; u64 controllen; u32 flags, pad2; };
struct cmsghdr { u64 len; int level, type; };
struct sockaddr_un { u16 family; char path[108]; };
struct ucred { int pid; u32 uid, gid; };
struct pollfd { int fd; short events, revents; };
struct dirent64 { u64 ino, off; u16 reclen; u8 type; char name[]; };
struct statx { u32 mask, blksize; u64 attributes; u32 nlink, uid, gid; u16 mode, pad; u64 rest[28]; };
struct siginfo { u32 signo; int errno_, code; u32 pid, uid; int fd; u32 tid, band, overrun, trapno; int status, integer; u64 pointer; u8 rest[72]; };
struct sched_attr { u32 size, policy; u64 flags; int nice; u32 priority; u64 runtime, deadline, period; };

// A system call with as many arguments as it reads: the kernel's answer, an errno negated. For Bun's compiler, which passes arguments in
// registers and knows no inline assembly with more than four, they are one function under several names.
#if defined(__TINYC__) || defined(__aarch64__)
#define CALL(name, ...) __attribute__((visibility("hidden"))) long name(long number, ##__VA_ARGS__);
CALL(pf_call0) CALL(pf_call1, long a) CALL(pf_call2, long a, long b) CALL(pf_call3, long a, long b, long c)
CALL(pf_call4, long a, long b, long c, long d) CALL(pf_call5, long a, long b, long c, long d, long e)
CALL(pf_call6, long a, long b, long c, long d, long e, long f)
#define NAMES ".text\n.globl pf_call0,pf_call1,pf_call2,pf_call3,pf_call4,pf_call5,pf_call6\n" \
  ".hidden pf_call0,pf_call1,pf_call2,pf_call3,pf_call4,pf_call5,pf_call6\npf_call0:\npf_call1:\npf_call2:\npf_call3:\npf_call4:\npf_call5:\npf_call6:\n"
#if defined(__x86_64__)
#define CALLS __asm__(NAMES " mov %rdi,%rax\n mov %rsi,%rdi\n mov %rdx,%rsi\n mov %rcx,%rdx\n mov %r8,%r10\n mov %r9,%r8\n mov 8(%rsp),%r9\n syscall\n ret\n");
#else
// mov x8,x0; mov x0,x1; mov x1,x2; mov x2,x3; mov x3,x4; mov x4,x5; mov x5,x6; svc #0; ret
#define CALLS __asm__(NAMES ".long 0xaa0003e8,0xaa0103e0,0xaa0203e1,0xaa0303e2,0xaa0403e3,0xaa0503e4,0xaa0603e5,0xd4000001,0xd65f03c0\n");
#endif
#else
static inline long pf_call6(long number, long a, long b, long c, long d, long e, long f) {
  long result;
  register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
  __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
  return result;
}
static inline long pf_call3(long number, long a, long b, long c) {
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
  return result;
}
#define CALLS
#define pf_call0(n) pf_call3(n, 0, 0, 0)
#define pf_call1(n, a) pf_call3(n, a, 0, 0)
#define pf_call2(n, a, b) pf_call3(n, a, b, 0)
#define pf_call4(n, a, b, c, d) pf_call6(n, a, b, c, d, 0, 0)
#define pf_call5(n, a, b, c, d, e) pf_call6(n, a, b, c, d, e, 0)
#endif

// Makes a child that borrows our memory, as by vfork(2): it calls `run` further down on our stack, and ends with the status that returns. We go on
// when it has become a program, or has ended. Its number is in `child` before it begins. Returns the number, or an errno, negated.
__attribute__((visibility("hidden"))) long pf_borrow(long flags, volatile u32 *child, int (*run)(void *), void *argument);
#define BORROW_AT ".text\n.globl pf_borrow\n.hidden pf_borrow\npf_borrow:\n"
#if defined(__x86_64__)
__asm__(BORROW_AT " mov %rdx,%r8\n mov %rcx,%r9\n mov %rsi,%rdx\n xor %esi,%esi\n xor %r10d,%r10d\n mov $56,%eax\n syscall\n test %rax,%rax\n jz 1f\n"
  " ret\n1: sub $8,%rsp\n mov %r9,%rdi\n call *%r8\n mov %eax,%edi\n mov $231,%eax\n syscall\n");
#else
// mov x9,x2; mov x10,x3; mov x2,x1; mov x1,#0; mov x3,#0; mov x4,#0; mov x8,#220; svc #0; cbz x0,.+8; ret; mov x0,x10; blr x9; mov x8,#94; svc #0
__asm__(BORROW_AT ".long 0xaa0203e9,0xaa0303ea,0xaa0103e2,0xd2800001,0xd2800003,0xd2800004,0xd2801b88,0xd4000001,0xb4000040,0xd65f03c0,"
  "0xaa0a03e0,0xd63f0120,0xd2800bc8,0xd4000001\n");
#endif

// The parameters, and where they are: Bun's compiler would look them up in a table of addresses, which there is not.
#define PARAMETERS_AT ".text\n.balign 16\n.ascii \"PREFORK-HEAD-03\\0\"\n.skip 920\n.globl pf_parameters\n.hidden pf_parameters\npf_parameters:\n"
// Where the kernel enters: calls `pf_head` with the stack as it came and with what it found in rdx (x0), and jumps where that says with both as
// they were. Stands right in front of `pf_head`. Bun's compiler has no instructions of arm64 in its assembler, so those are numbers.
#define ENTRY_AT ".text\n.globl pf_entry\n.hidden pf_entry\npf_entry:\n"
#if defined(__x86_64__)
#define PARAMETERS PARAMETERS_AT " lea .-936(%rip),%rax\n ret\n"
#define ENTRY ENTRY_AT " xor %ebp,%ebp\n mov %rsp,%rbx\n mov %rdx,%r12\n mov %rsp,%rdi\n mov %rdx,%rsi\n and $-16,%rsp\n call pf_head\n" \
  " mov %rbx,%rsp\n mov %r12,%rdx\n xor %ebx,%ebx\n xor %r12d,%r12d\n xor %ecx,%ecx\n xor %esi,%esi\n xor %edi,%edi\n jmp *%rax\n"
#else
#define PARAMETERS PARAMETERS_AT ".long 0x10ffe2c0,0xd65f03c0\n" // adr x0,.-936; ret
// mov x29,#0; mov x19,sp; mov x20,x0; mov x1,x0; mov x0,sp; bl pf_head; mov sp,x19; mov x16,x0; mov x0,x20; mov x19,#0; mov x20,#0; br x16
#define ENTRY ENTRY_AT ".long 0xd280001d,0x910003f3,0xaa0003f4,0xaa0003e1,0x910003e0,0x94000007,0x9100027f,0xaa0003f0,0xaa1403e0,0xd2800013,0xd2800014," \
  "0xd61f0200\n"
#endif
