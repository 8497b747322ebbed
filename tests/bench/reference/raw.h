/* System calls without libc, for x86-64 and arm64. They return the negated errno, as the kernel does. */
#include <sys/syscall.h>

#if defined(__x86_64__)
static inline long sys6(long number, long a, long b, long c, long d, long e, long f) {
  long result;
  register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}
__asm__(".globl _start\n_start: mov %rsp, %rdi\n and $-16, %rsp\n call start\n");
#elif defined(__aarch64__)
static inline long sys6(long number, long a, long b, long c, long d, long e, long f) {
  register long x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c,
                x3 __asm__("x3") = d, x4 __asm__("x4") = e, x5 __asm__("x5") = f;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
  return x0;
}
__asm__(".globl _start\n_start: mov x0, sp\n b start\n");
#else
#error "no system calls for this architecture"
#endif

#define ARGUMENT(value) ((long)(value))
#define sys0(number) sys6(number, 0, 0, 0, 0, 0, 0)
#define sys1(number, a) sys6(number, ARGUMENT(a), 0, 0, 0, 0, 0)
#define sys2(number, a, b) sys6(number, ARGUMENT(a), ARGUMENT(b), 0, 0, 0, 0)
#define sys3(number, a, b, c) sys6(number, ARGUMENT(a), ARGUMENT(b), ARGUMENT(c), 0, 0, 0)
#define sys4(number, a, b, c, d) sys6(number, ARGUMENT(a), ARGUMENT(b), ARGUMENT(c), ARGUMENT(d), 0, 0)
#define sys5(number, a, b, c, d, e) \
  sys6(number, ARGUMENT(a), ARGUMENT(b), ARGUMENT(c), ARGUMENT(d), ARGUMENT(e), 0)

/* The compiler calls these for assignments of structures. */
void *memcpy(void *to, const void *from, unsigned long size) {
  for (unsigned long at = 0; at < size; at++) ((char *)to)[at] = ((const char *)from)[at];
  return to;
}

void *memset(void *to, int byte, unsigned long size) {
  for (unsigned long at = 0; at < size; at++) ((char *)to)[at] = (char)byte;
  return to;
}
